"""Control databases for tests: each test gets one as a template was kept, and real commits in it.

A copy of the template takes a tenth of a second, and the first session in it nearly half of that. So where the last
test had the same template and changed nothing but rows, the rows are put back instead.
"""

from collections.abc import Iterator

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from controlplane.stack.bootstrap import GUESTS
from controlplane.stack.embedded import Stack
from tenants.isolation.grants import grant_runtime
from tests import fleet, kept_rows

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
    _kept.pop(label, None)
    for name in NAMES:
        _copy(stack, name, f"{name}_{label}")


_loaded: list[str] = []
_kept: dict[str, dict[str, kept_rows.Kept]] = {}  # by label, then by database
_put_back = 0
TIMES = 100  # then a copy again: what is deleted still takes room


def is_loaded(label: str) -> bool:
    """Whether the databases are a copy of this template, be it a fresh one or one that tests have used since."""
    return _loaded == [label]


def load(stack: Stack, label: str) -> None:
    """Both databases as they are in the template `label`, and a cluster that fits. Sessions still open are ended."""
    _bring_back(stack, label)
    if label != "migrated":
        fleet.template_is_there(stack)


def _bring_back(stack: Stack, label: str) -> None:
    global _put_back  # noqa: PLW0603  how worn the databases of this process are
    close_all()
    if _loaded == [label] and _put_back < TIMES and label in _kept and _rows_are_back(stack, label):
        _put_back += 1
        return
    for name in NAMES:
        _copy(stack, f"{name}_{label}", name)
    for kept in _kept.get(label, {}).values():
        kept.shape_now = ""
    if label not in _kept:
        _kept[label] = {name: kept_rows.keep(_url_of(stack, name)) for name in NAMES}
    _loaded[:], _put_back = [label], 0


def _url_of(stack: Stack, name: str) -> str:
    return f"{stack.superuser_url.rsplit('/', 1)[0]}/{name}"


def _rows_are_back(stack: Stack, label: str) -> bool:
    return all(kept_rows.put_back(_url_of(stack, name), kept) for name, kept in _kept[label].items())


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
