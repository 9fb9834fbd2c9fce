"""A pytest plugin, loaded before Django's settings: one embedded stack for the whole test session."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.stack import embedded

_running: list[embedded.Stack] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Settings read the environment as they are imported, so the servers' addresses must be there first."""
    if {"--collect-only", "--help", "--version"} & set(early_config.invocation_params.args):
        folder = Path(tempfile.mkdtemp(prefix="tenure-"))
        ports, credentials = embedded.free_ports(), embedded.load_or_make(folder)
        os.environ.update(embedded.environment(ports, credentials), TENURE_TESTING="true")
        shutil.rmtree(folder)
        return
    stack = embedded.start(Path(tempfile.mkdtemp(prefix="tenure-")), durable=False)
    _running.append(stack)
    os.environ.update(stack.environment, TENURE_TESTING="true", TENANT_APPS="")
    os.environ.pop("TENANT_APPS")


def pytest_unconfigure() -> None:
    for stack in _running:
        stack.stop()
        shutil.rmtree(stack.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[embedded.Stack]:
    """PostgreSQL, Valkey and the object store of this session."""
    yield _running[0]
