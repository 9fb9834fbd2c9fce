"""Connections to the clusters, and the one place where PostgreSQL's errors become ours."""

import atexit
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning.errors import Permanent, Transient
from tenants.isolation.crypto import seal, unseal
from tenants.models import Cluster

Connection = psycopg.Connection[tuple[Any, ...]]
Query = str | sql.SQL | sql.Composed

HALF_DROPPED = -2  # pg_database.datconnlimit after an interrupted DROP DATABASE: only dropping it again is allowed
PURPOSE = "cluster"
SESSION: dict[str, str | int] = {
    "connect_timeout": 5,  # seconds; a server that takes longer counts as away
    "tcp_user_timeout": 20_000,  # ms; a cut cable is noticed while a statement runs, not hours later
    "application_name": "tenure",
}
# An unqualified name must never be found in somebody's schema. Names are compared in text, so the form is fixed too.
# Whoever waits longer than 15 s for a lock meets an outage: our own older sessions are ended before.
OPTIONS = "-c search_path=pg_catalog -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c lock_timeout=15s"

NAME_SESSION = "SELECT set_config('application_name', %s, false)"


class ServerUnavailable(Transient):
    """A database server does not answer, is out of room, or gave the work up."""

    code = "DATABASE_UNAVAILABLE"
    cure = "It is tried again by itself. If it lasts, look at the cluster's server and its log."


class ServerRefused(Permanent):
    """A database server refused a statement."""

    code = "DATABASE_REFUSED"
    cure = "Read the server's message. Where rights are missing, run `manage.py register_cluster` to see which."


def sealed_url(url: str, cluster: Cluster) -> bytes:
    """The provisioning role's URL as `Cluster.sealed_url` keeps it."""
    return seal(url.encode(), purpose=PURPOSE, owner=str(cluster.id))


def url_of(cluster: Cluster) -> str:
    """The provisioning role's URL. It names the shared database. Raises SealError when the master key does not fit."""
    return unseal(bytes(cluster.sealed_url), purpose=PURPOSE, owner=str(cluster.id)).decode()


# Note [Sessions are kept]
# A new session costs both sides some 10 ms, most of it SCRAM and reading catalogs, and one onboarding wants five.
# So a session is kept when its block ended well, and given to the next block of the same process that asks for the same
# login: after DISCARD ALL, which leaves no setting, role, lock or temporary table behind, and for KEPT_S after it was
# opened. Only sessions on shared databases and pools are kept. One on a tenant's own database, or on a template, would
# stand in the way of DROP and CREATE DATABASE.
KEPT_S = 60.0
MOST_KEPT = 2  # of one login and process: a fenced block holds two at most

_kept: defaultdict[tuple[int, str], list[tuple[Connection, float]]] = defaultdict(list)


@contextmanager
def session(cluster: Cluster, *, application: str = "tenure") -> Iterator[Connection]:
    """A session on the cluster's shared database as the provisioning role, in autocommit, a kept one if there is one.

    `application` is what it is called meanwhile. Raises ServerUnavailable. See Note [Sessions are kept].
    """
    with server_errors(cluster.name), kept_session(_conninfo(url_of(cluster)), application=application) as connection:
        yield connection


@contextmanager
def kept_session(conninfo: str, *, application: str = "tenure") -> Iterator[Connection]:
    """The same for any login. Raises psycopg errors."""
    idle = _kept[os.getpid(), conninfo]
    connection, opened = _taken(idle, application) or (_open(conninfo), time.monotonic())
    try:
        if connection.info.parameter_status("application_name") != application:
            run(connection, NAME_SESSION, application)
        yield connection
        connection.execute("DISCARD ALL")  # refused inside a transaction: such a session is not kept
    except BaseException:
        connection.close()
        raise
    if len(idle) < MOST_KEPT:
        idle.append((connection, opened))
    else:
        connection.close()


def close_kept() -> None:
    """End the sessions that this process keeps."""
    for (process, _conninfo), idle in _kept.items():
        while idle and process == os.getpid():
            idle.pop()[0].close()


atexit.register(close_kept)


def _taken(idle: list[tuple[Connection, float]], application: str) -> tuple[Connection, float] | None:
    """A kept session that still answers, named."""
    while idle:
        connection, opened = idle.pop()
        if time.monotonic() - opened < KEPT_S:
            with suppress(psycopg.OperationalError, psycopg.InterfaceError):
                run(connection, NAME_SESSION, application)
                return connection, opened
        connection.close()
    return None


def connect(cluster: Cluster, *, database: str | None = None, application: str = "tenure") -> Connection:
    """As the provisioning role, in autocommit; to the shared database unless another is named. ServerUnavailable."""
    return open_url(url_of(cluster), subject=cluster.name, dbname=database, application_name=application)


def open_url(url: str, *, subject: str, **overrides: str | int | None) -> Connection:
    """Connect with our session rules. `subject` is the cluster's name in errors; the URL is never shown."""
    given: dict[str, str | int] = {name: value for name, value in overrides.items() if value is not None}
    with server_errors(subject):
        return _open(_conninfo(url, **given))


@lru_cache(maxsize=64)
def _conninfo(url: str, **given: str | int) -> str:
    return make_conninfo(url, **SESSION | {"options": OPTIONS} | given)


def _open(conninfo: str) -> Connection:
    # Statements are prepared by nobody: each is sent once, and a pooler in between would lose them.
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


@contextmanager
def server_errors(subject: str) -> Iterator[None]:
    """Turn what psycopg raises inside into ServerUnavailable or ServerRefused. `subject` names the cluster or tenant.

    OperationalError holds everything that may pass: lost connections, restarts, lock timeouts, deadlocks, full disks,
    too many connections; InternalError what two sessions changed at the same moment (PostgreSQL 18, "Appendix A.
    PostgreSQL Error Codes"). Details are left out: they quote rows.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
        raise ServerUnavailable(f"{subject}: {_message(error)}", sqlstate=error.sqlstate or "") from error
    except psycopg.Error as error:
        raise ServerRefused(f"{subject}: {_message(error)}", sqlstate=error.sqlstate or "") from error


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or " ".join(str(error).split())


def run(connection: Connection, statement: Query, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement, or several in one round trip when there are no parameters. Rows of the last one, if any."""
    cursor = connection.execute(statement, parameters or None)
    while cursor.nextset():
        pass
    return cursor.fetchall() if cursor.description else []


def is_open(connection: Connection, database: str) -> bool:
    """Whether there is such a database on this server that lets sessions in."""
    query = "SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn AND datconnlimit <> %s"
    return bool(run(connection, query, database, HALF_DROPPED))
