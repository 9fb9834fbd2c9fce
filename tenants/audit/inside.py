"""Verify the personal values beside the log: each is there and agrees with its entry, or a later entry erased it."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from tenants.actions import AuditAction
from tenants.audit import sources
from tenants.audit.errors import PayloadKeysAway, PayloadTampered
from tenants.audit.payloads import Payload, opened
from tenants.audit.report import Wrong

NOTHING = (UUID(int=0), b"")  # the commitment of a value that no entry committed to: no key has this id
CHUNK = 500  # entries with sealed values looked at together, with one question for their keys

# Entries that committed to something, and whatever lies beside an entry, committed to or not.
SEALED = """
SELECT e.chain, e.seq, e.entry, e.body, p.field, p.key_id, p.sealed
FROM audit_entry e LEFT JOIN audit_payload p ON p.entry = e.entry
WHERE e.public -> 'commits' <> '{}'::jsonb AND (%(chain)s::uuid IS NULL OR e.chain = %(chain)s)
UNION ALL
SELECT e.chain, e.seq, e.entry, e.body, p.field, p.key_id, p.sealed
FROM audit_payload p JOIN audit_entry e ON e.entry = p.entry
WHERE e.public -> 'commits' = '{}'::jsonb AND (%(chain)s::uuid IS NULL OR e.chain = %(chain)s)
ORDER BY 1, 2, 5
"""
AMONG = """
SELECT e.chain, e.seq, e.entry, e.body, p.field, p.key_id, p.sealed
FROM audit_entry e LEFT JOIN audit_payload p ON p.entry = e.entry
WHERE e.entry = ANY(%s) AND e.public -> 'commits' <> '{}'::jsonb ORDER BY 1, 2, 5
"""
ERASURES = """
SELECT e.chain, e.seq, e.public ->> 'action', e.public -> 'keys' FROM audit_entry e
WHERE e.public ->> 'action' IN ('payload.erased', 'key.destroyed') AND (%(chain)s::uuid IS NULL OR e.chain = %(chain)s)
ORDER BY e.chain, e.seq
"""


@dataclass(frozen=True, slots=True)
class Of:
    """One entry with sealed values: what it committed to, and what lies beside it."""

    chain: UUID
    seq: int
    entry: UUID
    commits: Mapping[str, tuple[UUID, bytes]]
    payloads: Mapping[str, Payload]


class _Erasures(NamedTuple):
    """By chain and key, the number of the entry that erased its values, and of the one that says it was destroyed."""

    erased: Mapping[tuple[UUID, UUID], int]
    destroyed: Mapping[tuple[UUID, UUID], int]


def payloads(chain: UUID | None, kept: Counter[str]) -> Iterator[Wrong]:
    """Every value that is not as its entry and its chain say. Counts into `kept` those that are: sealed, erased."""
    erasures = _erasures(chain)
    for some in _chunks(_entries(chain)):
        keys = keys_of(some)
        for each in some:
            for name in sorted({*each.commits, *each.payloads}):
                what = _judged(each, name, erasures, keys)
                if what == "missing":  # an erasure may have come between the two questions
                    erasures = _erasures(chain)
                    what = _judged(each, name, erasures, keys)
                if what in {"sealed", "erased"}:
                    kept[what] += 1
                else:
                    yield Wrong(each.chain, each.seq, what)
    back = _opened({key for _chain, key in erasures.destroyed})
    for (of, key), seq in erasures.destroyed.items():
        if key in back:  # a keyring from before its destruction
            yield Wrong(of, seq, "resurrected")


def _judged(each: Of, name: str, erasures: _Erasures, keys: Mapping[UUID, bytes]) -> Any:
    """`sealed`, `erased`, or what is wrong."""
    payload, (key_id, committed) = each.payloads.get(name), each.commits.get(name, NOTHING)
    if (erased_at := erasures.erased.get((each.chain, key_id))) is not None:
        if erased_at < each.seq:
            return "late"
        return "erased" if payload is None else "resurrected"
    if payload is None:
        return "missing"
    return _opens(payload, key_id, committed, keys)


def _opens(payload: Payload, key_id: UUID, committed: bytes, keys: Mapping[UUID, bytes]) -> Any:
    if payload.key_id != key_id:
        return "payload"
    if key_id not in keys:
        return "unreadable"
    try:
        opened(payload, committed=committed, key=keys[key_id])
    except PayloadTampered:
        return "payload"
    return "sealed"


def _entries(chain: UUID | None) -> Iterator[Of]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(SEALED, {"chain": chain})
        yield from _grouped(row for page in iter(lambda: cursor.fetchmany(CHUNK), []) for row in page)


def entries_among(wanted: Collection[UUID]) -> Iterator[Of]:
    """Those of the entries that committed to something."""
    with connection.cursor() as cursor:
        cursor.execute(AMONG, [list(wanted)])
        yield from _grouped(cursor.fetchall())


def keys_of(some: Iterable[Of]) -> Mapping[UUID, bytes]:
    """The keys that these entries committed under, as far as they can be opened."""
    return _opened({key for each in some for key, _mac in each.commits.values()})


def _grouped(rows: Iterable[tuple[Any, ...]]) -> Iterator[Of]:
    for (of, seq, entry, body), beside in groupby(rows, key=lambda row: row[:4]):
        found = [Payload(entry, name, key, bytes(sealed)) for *_entry, name, key, sealed in beside if name]
        yield Of(of, seq, entry, _commits(body), {each.name: each for each in found})


def _commits(body: str) -> dict[str, tuple[UUID, bytes]]:
    """By field. What an intruder wrote there in another form is a commitment that nothing agrees with."""
    found = {}
    for name, commit in json.loads(body)["commits"].items():
        try:
            found[name] = (UUID(commit[0]), bytes.fromhex(commit[1]))
        except (ValueError, TypeError, IndexError, AttributeError):
            found[name] = NOTHING
    return found


def _erasures(chain: UUID | None) -> _Erasures:
    found: defaultdict[str, dict[tuple[UUID, UUID], int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(ERASURES, {"chain": chain})
        for of, seq, action, keys in cursor.fetchall():
            for key in json.loads(keys) if isinstance(keys, str) else keys:
                found[action].setdefault((of, UUID(key)), seq)
    return _Erasures(found[AuditAction.PAYLOAD_ERASED], found[AuditAction.KEY_DESTROYED])


def _opened(keys: set[UUID]) -> Mapping[UUID, bytes]:
    """Nobody to ask is an answer, too: the values under these keys are unreadable, which is not clean."""
    try:
        return sources.keys().opened(keys) if keys else {}
    except PayloadKeysAway:
        return {}


def _chunks(entries: Iterable[Of]) -> Iterator[list[Of]]:
    some: list[Of] = []
    for each in entries:
        some.append(each)
        if len(some) == CHUNK:
            yield some
            some = []
    yield some
