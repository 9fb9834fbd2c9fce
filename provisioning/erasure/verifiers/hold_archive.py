"""Counts the records that holds keep of a tenant: in its tables as long as they are there, then in archives.

Archives are opened with the verifier's own connections, and their lines are counted: what does not open holds nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from psycopg import sql

from provisioning.databases import pooling, vantage
from provisioning.databases.servers import Connection as Session
from provisioning.databases.servers import is_open
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.looking import is_runtime, looking_into, unreadable
from tenants.findings import Finding, Severity
from tenants.isolation.crypto import unseal
from tenants.models import Cluster

PURPOSE, NONCE = "hold", 12
TABLES = ("provisioning_recordhold", "provisioning_holdarchive", "provisioning_archivedrecords")
HOLDS = """
SELECT h.id, h.locator, h.record, h.ground, h.review_at, a.id, h.request_id = %(request)s,
       h.released_at IS NOT NULL AND h.released_at <= coalesce(asked.created_at, now())
FROM provisioning_recordhold h JOIN provisioning_erasurerequest e ON e.id = h.request_id
LEFT JOIN provisioning_holdarchive a ON a.hold_id = h.id
LEFT JOIN provisioning_erasurerequest asked ON asked.id = %(request)s
WHERE e.tenant_id = %(tenant)s AND e.kind = 'tenant'
  AND (a.id IS NOT NULL OR h.request_id = %(request)s AND h.released_at IS NULL)
ORDER BY h.locator, h.record, h.id
"""
KEY = "SELECT key_id, wrapped FROM data_key WHERE owner_ref = %s AND purpose = %s AND wrapped IS NOT NULL"
PARTS = "SELECT part, records, sealed FROM provisioning_archivedrecords WHERE archive_id = %s ORDER BY part"
LOCATOR = re.compile(r"(?P<cluster>[^:]+):(?P<database>[^/]+)/(?P<schema>[^.]+)\.(?P<table>.+)")
IS_THERE = """
    SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = %(column)s AND NOT attisdropped),
        (SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid
            AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary AND a.attname <> %(column)s)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind = 'r'
"""


@dataclass(frozen=True, slots=True)
class _Hold:
    """One row of HOLDS. `goes`: it was released before this request was made, so its archive is to go."""

    id: UUID
    locator: str
    record: str
    ground: str
    review_at: datetime
    archive: UUID | None
    own: bool
    goes: bool

    @property
    def place(self) -> str:
        return f"{self.locator}#{self.record}" if self.record else self.locator


class HoldArchiveVerifier:
    """What is held is retained with its ground, until the day of its review; what was released is to go."""

    store = "hold_archive"
    scopes: frozenset[Kind] = frozenset({"tenant"})

    def coverage(self, scope: Scope) -> Coverage:
        return Coverage(tuple(dict.fromkeys(hold.place for hold in _holds(scope))))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        """A hold that keeps nothing would be a promise that nobody notices is empty."""
        for hold in _holds(scope):
            if hold.archive is None and not in_tables(scope.tenant_id, hold.locator, hold.record):
                message = f"The hold on {hold.place} finds nothing there."
                yield Finding("HOLD_FINDS_NOTHING", Severity.ERROR, hold.place, message, "Release it, or hold another.")

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """By hold. An archive that should open and does not raises, and the verdict is unknown."""
        return tuple(_counted(scope, _holds(scope)))

    def control(self, scope: Scope) -> Control:
        """Another role than the one that archives may read holds and archives whole, and finds the tenant."""
        with looking_into(settings.VERIFIER_URL) as connection:
            if is_runtime(connection, "default"):
                return Control(ok=False, method="the verifier has the role that erases: set VERIFIER_URL")
            hidden = set(unreadable(connection)) & set(TABLES)
            found = connection.execute("SELECT 1 FROM tenants_tenant WHERE id = %s", (scope.tenant_id,)).fetchone()
        seen = f"a role of its own; {len(TABLES) - len(hidden)} of {len(TABLES)} tables readable"
        return Control(not hidden and found is not None, f"{seen}; the tenant's row seen: {found is not None}")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        """Of a destroyed key the store `keys` tells."""
        return ()


def in_tables(tenant_id: UUID, locator: str, record: str) -> int:
    """How many rows a hold finds in the tenant's tables, past row security; 0 where there is no such table."""
    if (matched := LOCATOR.fullmatch(locator)) is None:
        return 0
    cluster, database = Cluster.objects.get(name=matched["cluster"]), matched["database"]
    if database != cluster.database:
        with vantage.standing(cluster) as shared:
            if not is_open(shared, database):
                return 0
    with vantage.standing(cluster, database=database) as session:
        return _rows_of(session, tenant_id, matched["schema"], matched["table"], record)


def _rows_of(session: Session, tenant_id: UUID, schema: str, table: str, record: str) -> int:
    given = {"schema": schema, "table": table, "column": pooling.TENANT_ID}
    for pooled, key in vantage.ask(session, IS_THERE, given):
        which: list[sql.Composable] = [sql.SQL("true")]
        if pooled:
            which.append(sql.SQL("{} = %(tenant)s").format(sql.Identifier(pooling.TENANT_ID)))
        if record:
            one = sql.Identifier(key[0]) if key is not None and len(key) == 1 else sql.SQL("NULL")
            which.append(sql.SQL("{}::text = %(record)s").format(one))
        question = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
            sql.Identifier(schema, table), sql.SQL(" AND ").join(which)
        )
        ((number,),) = vantage.ask(session, question, {"tenant": tenant_id, "record": record})
        return int(number)
    return 0


def _holds(scope: Scope) -> list[_Hold]:
    with looking_into(settings.VERIFIER_URL) as connection:
        given = {"tenant": scope.tenant_id, "request": scope.request_id}
        return [_Hold(*row) for row in connection.execute(HOLDS, given)]


def _counted(scope: Scope, holds: list[_Hold]) -> Iterator[Tally]:
    for hold in holds:
        if hold.archive is None:
            n = in_tables(scope.tenant_id, hold.locator, hold.record)
            yield Tally(hold.place, n, action="retain", ground=hold.ground, until=hold.review_at)
            continue
        key = None if hold.goes else _key_of(hold.archive)
        n = sum(_records(hold.archive, *part, key=key) for part in _parts_of(hold.archive))
        if key is None:  # of an archive that opens for nobody any more: only its rows are left
            yield Tally(hold.place, n, action="shred")
        else:
            yield Tally(hold.place, n, action="retain", ground=hold.ground, until=hold.review_at)


def _key_of(archive: UUID) -> bytes | None:
    with looking_into(settings.KEYRING_VERIFIER_URL) as connection:
        row = connection.execute(KEY, (archive, PURPOSE)).fetchone()
    if row is None:
        return None
    key_id, wrapped = row
    return unseal(bytes(wrapped), purpose=f"data_key.{PURPOSE}", owner=f"{key_id}|{archive}")


def _parts_of(archive: UUID) -> Iterator[tuple[int, int, Any]]:
    with (
        looking_into(settings.VERIFIER_URL) as connection,
        connection.transaction(),
        connection.cursor("parts") as cursor,  # on the server: a part is some megabytes
    ):
        cursor.itersize = 1
        yield from cursor.execute(PARTS, (archive,))


def _records(archive: UUID, part: int, said: int, sealed: Any, *, key: bytes | None) -> int:
    """The lines of a part; of one that is to go, or that nobody can open, what its row says."""
    if key is None:
        return said
    whole, bound = bytes(sealed), b"tenure/hold/1\x00" + archive.bytes + part.to_bytes(4, "big")
    return AESGCM(key).decrypt(whole[:NONCE], whole[NONCE:], bound).count(b"\n")
