"""A pytest plugin, loaded before Django's settings: one embedded stack for the whole test session."""

import os
import shutil

import pytest

from controlplane.stack import embedded
from controlplane.stack.credentials import load_or_make
from controlplane.stack.files import scratch_folder
from controlplane.stack.ports import free_ports

_running: list[embedded.Stack] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Settings read the environment as they are imported, so the servers' addresses must be there first."""
    if runs_no_test(early_config):
        folder = scratch_folder()
        ports, credentials = free_ports(), load_or_make(folder)
        os.environ.update(embedded.environment(ports, credentials), TENURE_TESTING="true")
        shutil.rmtree(folder)
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of programs would each compile all of us (0.3 s)
    stack = embedded.start(scratch_folder(), durable=False)
    _running.append(stack)
    os.environ.update(stack.environment, TENURE_TESTING="true")
    os.environ.pop("TENANT_APPS", None)  # the tests are about the example application


def runs_no_test(config: pytest.Config) -> bool:
    """Whether this process only lists tests, or hands them out to others (pytest-xdist), each with its own servers."""
    if {"--collect-only", "--help", "--version"} & set(config.invocation_params.args):
        return True
    hands_out = getattr(config.known_args_namespace, "numprocesses", None)
    return bool(hands_out) and "PYTEST_XDIST_WORKER" not in os.environ


def pytest_unconfigure() -> None:
    for stack in _running:
        stack.stop()
        shutil.rmtree(stack.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> embedded.Stack:
    """PostgreSQL, Valkey and the object store of this session."""
    return _running[0]
