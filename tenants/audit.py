"""The audit log: one hash chain per tenant and one for the platform, appended to and never changed.

# Note [The body is closed]
What an entry says is made of words from the lists in tenants/actions.py, UUIDs, whole numbers and one timestamp. No
word that a person typed can get in: no name, address, slug or message. So the log never has to be rewritten for a
right to erasure, and can be kept, copied and shown to an auditor as it is. A word that is missing is added to its list.
A body format is never changed in place: a new one gets a new `v`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import groupby
from typing import Literal, NamedTuple
from uuid import UUID, uuid4

from django.core.management import get_commands
from django.db import connection
from django.utils import timezone

from tenants.actions import COUNTS, SYSTEM_ACTORS, Actor, AuditAction, ObjectType, Outcome
from tenants.errors import TenureError
from tenants.models import Tenant

__all__ = [
    "PLATFORM_CHAIN",
    "Actor",
    "AuditAction",
    "AuditBodyError",
    "AuditOutsideTransaction",
    "Entry",
    "ObjectType",
    "Outcome",
    "Report",
    "Wrong",
    "verify",
    "write",
    "write_together",
]

# The chains are locked in the order of their ids; entries of one chain stay in the order they were given in.
APPEND = """
SELECT audit_append(chain, body) FROM (
    SELECT coalesce(t.audit_chain, %s) AS chain, e.body
    FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS e (tenant, body, place)
    LEFT JOIN tenants_tenant t ON t.id = e.tenant
    WHERE e.tenant IS NULL OR t.id IS NOT NULL
    ORDER BY 1, e.place OFFSET 0
) AS located
"""
VERSION = 1
GENESIS = bytes(32)
CHUNK = 2_000  # entries fetched at once while verifying: about 2 MB
UUID_TEXT = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
SHOWN = 100  # wrong places that a report lists; all are counted
PLATFORM_CHAIN = UUID("7e2c1f60-0000-4000-8000-000000000001")
"""The chain of what belongs to no tenant: clusters, plans, releases, API keys."""


class AuditBodyError(TenureError):
    """An audit entry may hold words from the lists of tenants/actions.py, UUIDs and whole numbers, and nothing else."""

    code = "AUDIT_BODY_NOT_CLOSED"
    cure = "Pass ids instead of names; if a word is missing, add it to its list in tenants/actions.py."


class AuditOutsideTransaction(TenureError):
    """An audit entry is written in the transaction of the change it tells of, or a crash parts the two."""

    code = "AUDIT_OUTSIDE_TRANSACTION"
    cure = "Wrap the change and audit.write in one `transaction.atomic()`, with audit.write last."


@dataclass(frozen=True, slots=True)
class Wrong:
    """One place where a chain is not what was written. `seq` is where it shows; `what` is number, link, hash or end."""

    chain: UUID
    seq: int
    what: Literal["number", "link", "hash", "end"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification saw. `wrong` counts every place, `places` lists the first SHOWN of them."""

    chains: int
    entries: int
    wrong: int
    places: tuple[Wrong, ...]

    @property
    def intact(self) -> bool:
        return self.wrong == 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. See `write` for the fields."""

    action: AuditAction | str
    actor: Actor
    object: tuple[ObjectType | str, UUID | int]
    outcome: Outcome | str = Outcome.DONE
    tenant: UUID | None = None
    operation: UUID | None = None
    request: UUID | None = None
    keys: tuple[UUID, ...] = ()
    counts: Mapping[str, int] | None = None


def write(
    action: AuditAction | str,
    *,
    actor: Actor,
    object: tuple[ObjectType | str, UUID | int],
    outcome: Outcome | str = Outcome.DONE,
    tenant: UUID | None = None,
    operation: UUID | None = None,
    request: UUID | None = None,
    keys: Iterable[UUID] = (),
    counts: Mapping[str, int] | None = None,
) -> None:
    """Append one entry to the chain of `tenant`, or of the platform without one.

    Call it last in the business transaction: the chain's row stays locked until the commit. `object` is what it is
    about, `operation` and `request` the ids it belongs to, `keys` the ids of encryption keys, `counts` numbers under
    the words of COUNTS. Raises AuditBodyError for anything that is not on the lists, AuditOutsideTransaction outside
    a transaction, Tenant.DoesNotExist for an unknown tenant.
    """
    entry = Entry(
        action=action,
        actor=actor,
        object=object,
        outcome=outcome,
        tenant=tenant,
        operation=operation,
        request=request,
        keys=tuple(keys),
        counts=counts,
    )
    write_together((entry,))


def write_together(entries: Iterable[Entry]) -> None:
    """Append several entries, in the order of their chains' ids: in any other, two transactions could deadlock.

    A tenant's chain has an id of its own, random, so that a chain kept after erasure leads to nobody.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction
    given = [(entry.tenant if entry.tenant is None else _uuid(entry.tenant), body_of(entry)) for entry in entries]
    tenants, bodies = [tenant for tenant, _body in given], [body for _tenant, body in given]
    with connection.cursor() as cursor:
        cursor.execute(APPEND, (PLATFORM_CHAIN, tenants, bodies))
        if cursor.rowcount < len(given):
            raise Tenant.DoesNotExist


def body_of(entry: Entry) -> str:
    """The exact text that is hashed and stored: canonical JSON. See Note [The body is closed]."""
    return json.dumps(
        {
            "v": VERSION,
            "entry": str(uuid4()),
            "at": timezone.now().isoformat(timespec="microseconds"),
            "action": _word(AuditAction, entry.action),
            "actor": _actor(entry.actor),
            "tenant": _optional(entry.tenant),
            "object_type": _word(ObjectType, entry.object[0]),
            "object_id": _id(entry.object[1]),
            "outcome": _word(Outcome, entry.outcome),
            "operation": _optional(entry.operation),
            "request": _optional(entry.request),
            "keys": [str(_uuid(key)) for key in entry.keys],
            "counts": {_counted(word): _whole(number) for word, number in (entry.counts or {}).items()},
            "commits": {},  # commitments to sealed personal values
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )


def verify(chain: UUID | None = None, *, progress: Callable[[int], object] | None = None) -> Report:
    """Recompute every hash of one chain, or of all, from the stored text; `progress` hears of each chunk of entries.

    Reads one snapshot, in order, without holding it in memory. It proves that nothing was changed, cut out or swapped
    by somebody who could not write new hashes; a whole chain rewritten with new hashes needs a checkpoint to show.
    """
    chains = entries = wrong = 0
    places: list[Wrong] = []
    for _chain, links in groupby(_links(chain), key=lambda link: link.chain):
        chains += 1
        seq, prev = 0, GENESIS
        for link in links:
            found = list(_wrong(link, seq, prev))
            wrong += len(found)
            places.extend(found[: SHOWN - len(places)])
            if link.seq is not None:
                seq, prev = link.seq, link.hash
                entries += 1
                if progress is not None and entries % CHUNK == 0:
                    progress(CHUNK)
    if progress is not None:
        progress(entries % CHUNK)
    return Report(chains=chains, entries=entries, wrong=wrong, places=tuple(places))


def entry_hash(chain: UUID, seq: int, prev: bytes, body: str) -> bytes:
    """The same 32 bytes that `audit_append` computes in the database, computed apart from it."""
    head = b"tenure/audit/1/entry\x00" + chain.bytes + seq.to_bytes(8, "big")
    return sha256(head + prev + body.encode()).digest()


class _Link(NamedTuple):
    """A link, and what its chain's row says of the chain's end. A chain without links is one _Link of seq None."""

    chain: UUID
    size: int
    head: bytes
    last: bool
    seq: int | None
    prev: bytes
    body: str
    hash: bytes


def _links(chain: UUID | None) -> Iterator[_Link]:
    query = """
        SELECT chain, c.size, c.head, lead(e.seq) OVER (PARTITION BY chain ORDER BY e.seq) IS NULL,
               e.seq, coalesce(e.prev, ''), coalesce(e.body, ''), coalesce(e.hash, '')
        FROM audit_chain c LEFT JOIN audit_entry e USING (chain)
        WHERE %(chain)s::uuid IS NULL OR chain = %(chain)s ORDER BY chain, e.seq"""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, {"chain": chain})
        while rows := cursor.fetchmany(CHUNK):
            for of, size, head, last, seq, prev, body, stored in rows:
                yield _Link(of, size, bytes(head), last, seq, bytes(prev), body, bytes(stored))


def _wrong(link: _Link, seq: int, prev: bytes) -> Iterator[Wrong]:
    """Compare one link with the one before it, `seq` and hash `prev`, and the last one with its chain's row."""
    end = (0, GENESIS)
    if link.seq is not None:
        end = (link.seq, link.hash)
        if link.seq != seq + 1:
            yield Wrong(link.chain, link.seq, "number")
        if link.prev != prev:
            yield Wrong(link.chain, link.seq, "link")
        if link.hash != entry_hash(link.chain, link.seq, link.prev, link.body):
            yield Wrong(link.chain, link.seq, "hash")
    if link.last and end != (link.size, link.head):
        yield Wrong(link.chain, end[0], "end")


def _is_row_id(text: str) -> bool:
    """A UUID, or a whole number: the primary keys of people and API keys."""
    return UUID_TEXT.fullmatch(text) is not None or (text.isascii() and text.isdigit())


KNOWN_IDS: dict[str, Callable[[str], bool]] = {
    "api_key": _is_row_id,
    "user": _is_row_id,
    "command": lambda name: name in get_commands(),
    "system": SYSTEM_ACTORS.__contains__,
}


def _actor(actor: Actor) -> str:
    """`kind:id`. Raises AuditBodyError for another kind, and for a name in place of an id."""
    if actor.kind not in KNOWN_IDS or not KNOWN_IDS[actor.kind](actor.id):
        raise AuditBodyError
    return str(actor)


def _word(words: type[StrEnum], value: str) -> str:
    try:
        return words(value).value
    except ValueError:
        raise AuditBodyError from None  # its message quotes what was passed, which must not reach a log either


def _uuid(value: object) -> UUID:
    if not isinstance(value, UUID):
        raise AuditBodyError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise AuditBodyError
    return value


def _id(value: object) -> str | int:
    return str(value) if isinstance(value, UUID) else _whole(value)


def _optional(value: object) -> str | None:
    return None if value is None else str(_uuid(value))


def _counted(word: object) -> str:
    if word not in COUNTS:
        raise AuditBodyError
    return str(word)
