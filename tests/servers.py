"""A pytest plugin, loaded before Django's settings: one embedded stack for the whole test session."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from controlplane.stack import embedded
from controlplane.stack.credentials import load_or_make
from controlplane.stack.ports import free_ports

_running: list[embedded.Stack] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Settings read the environment as they are imported, so the servers' addresses must be there first."""
    if {"--collect-only", "--help", "--version"} & set(early_config.invocation_params.args):
        folder = Path(tempfile.mkdtemp(prefix="tenure-"))
        ports, credentials = free_ports(), load_or_make(folder)
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
def stack() -> embedded.Stack:
    """PostgreSQL, Valkey and the object store of this session."""
    return _running[0]
