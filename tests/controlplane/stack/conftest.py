import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.stack.embedded import Stack, start
from controlplane.stack.files import scratch_folder


@contextmanager
def data_folder() -> Iterator[Path]:
    """Not below pytest's own folder, which every new session closes to other users, PostgreSQL's among them."""
    parent = scratch_folder()
    try:
        yield parent / "data"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack whose servers a test may kill."""
    with data_folder() as folder, start(folder, durable=False) as own:
        yield own
