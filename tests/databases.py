"""Control databases for tests: each test gets a fresh copy of a migrated one, and real commits in it."""

from collections.abc import Iterator

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from controlplane.stack.bootstrap import GUESTS
from controlplane.stack.embedded import Stack
from tenants.isolation.grants import grant_runtime

NAMES = ("tenure", "tenure_keyring")


def migrate() -> None:
    """Bring the control and keyring databases up to date, as their owner, and grant the runtime role its rights."""
    call_command("migrate", database="owner", verbosity=0)
    call_command("migrate", database="keyring_owner", verbosity=0)
    for alias in ("owner", "keyring_owner"):
        grant_runtime(connections[alias])
    close_all()


def close_all() -> None:
    for connection in connections.all():
        connection.close()


def save_as(stack: Stack, label: str) -> None:
    """Keep both databases as they are now, as a template named `label`."""
    close_all()
    for name in NAMES:
        _copy(stack, name, f"{name}_{label}")


_loaded: list[str] = []


def is_loaded(label: str) -> bool:
    """Whether the databases are a copy of this template, be it a fresh one or one that tests have used since."""
    return _loaded == [label]


def load(stack: Stack, label: str) -> None:
    """Both databases anew, as copies of the template `label`. Sessions still open on the old ones are ended."""
    close_all()
    for name in NAMES:
        _copy(stack, f"{name}_{label}", name)
    _loaded[:] = [label]


def _copy(stack: Stack, source: str, target: str) -> None:
    names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names))
        connection.execute(
            sql.SQL("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = {}").format(source)
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {target} TEMPLATE {source} OWNER tenure_owner_control STRATEGY wal_log").format(
                **names
            )
        )
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {target} FROM PUBLIC").format(**names))
        for guest in GUESTS.get(target, ()):  # a copy does not inherit its template's database grants
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {target} TO {}").format(sql.Identifier(guest), **names)
            )


def fresh(stack: Stack, label: str) -> Iterator[None]:
    load(stack, label)
    try:
        yield
    finally:
        close_all()
