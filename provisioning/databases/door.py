"""Waiting until whoever is inside has left: a closed door stops the next transaction, never the one under way.

A transaction holds a lock on its own number from its first moment to its last (PostgreSQL 18, "pg_locks"), which every
role may see, unlike when it began. So who is inside now is a set of such numbers, and they have left when none of
them is held: no clock is compared.
"""

import time
from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from provisioning.databases.servers import Connection, run
from provisioning.errors import Permanent

GRACE = timedelta(seconds=1)  # for who is inside while a tenant is suspended: to end well, not to go on
WITHIN = timedelta(minutes=5)  # how long a transaction may take that began before the door was closed
END_WITHIN_MS = 5_000  # how long the server may take to end a session that was told to
LOOK_EVERY_S = 0.05

# Roles of pools and of their tenants alone: our own sessions, and people's, are no tenant's.
_INSIDE = """
    SELECT l.pid, l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction AND l.pid <> pg_backend_pid()
    AND a.datname = current_database() AND a.usename ~ '^[pt]_[0-9a-f]{32}$'
    AND (%s::text[] IS NULL OR a.usename = ANY (%s))
"""
# The mark that `enter` leaves: pg_locks shows a bigint key in two halves (PostgreSQL 18, "pg_locks").
_INSIDE_AS = """
    SELECT m.pid, m.virtualtransaction FROM pg_locks m JOIN pg_stat_activity a USING (pid)
    WHERE m.locktype = 'advisory' AND m.objsubid = 1
    AND (m.classid::bigint << 32) | m.objid::bigint = uuid_hash_extended(%s, 29)
    AND a.datname = current_database() AND a.usename ~ '^[pt]_[0-9a-f]{32}$'
"""
_END = "SELECT count(*) FROM unnest(%s::int[]) AS pid WHERE pg_terminate_backend(pid, %s)"


class StillInside(Permanent):
    """A transaction of a tenant's goes on although its session was told to end."""

    code = "STILL_INSIDE"
    cure = "Look at the sessions of that process on the server, and end them there; then ask again."


class Transaction(NamedTuple):
    """One that is open: the server process it runs in, and its number in there."""

    pid: int
    number: str


def inside(connection: Connection, roles: Collection[str] | None = None) -> frozenset[Transaction]:
    """The open transactions in this database of these login roles, or of all roles of pools and their tenants."""
    named = None if roles is None else list(roles)
    return frozenset(Transaction(*row) for row in run(connection, _INSIDE, named, named))


def inside_as(connection: Connection, tenant_id: UUID) -> frozenset[Transaction]:
    """The open transactions in this database that entered a pool as this tenant, whichever role they share."""
    return frozenset(Transaction(*row) for row in run(connection, _INSIDE_AS, tenant_id))


def wait_until_left(connection: Connection, roles: Collection[str] | None = None, *, within: timedelta = WITHIN) -> int:
    """Return when every transaction that is open now has ended. Call it after the commit that closed the door.

    `connection` is in autocommit: inside a transaction the server would show the same sessions for ever. After `within`
    the sessions of stragglers are ended; returns how many were. Raises StillInside if one will not go.
    """
    return wait_for(connection, inside(connection, roles), within=within)


def wait_for(connection: Connection, waited_for: frozenset[Transaction], *, within: timedelta = WITHIN) -> int:
    """The same for those that `inside` has seen."""
    left_by = time.monotonic() + within.total_seconds()
    while waited_for and time.monotonic() < left_by:
        time.sleep(LOOK_EVERY_S)
        waited_for &= inside(connection)
    if not waited_for:
        return 0
    ((ended,),) = run(connection, _END, [each.pid for each in waited_for], END_WITHIN_MS)
    if stay := waited_for & inside(connection):
        raise StillInside(f"Server processes {', '.join(str(each.pid) for each in sorted(stay))} go on.")
    return int(ended)
