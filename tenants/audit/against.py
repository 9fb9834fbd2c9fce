"""Verify the chains against signed checkpoints, and the checkpoints among themselves."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection
from django.utils import timezone

from tenants.audit import sources
from tenants.audit.checkpoints import CHECKPOINTS, GENESIS, INTERVAL, Checkpoint, after
from tenants.audit.errors import PayloadKeysAway
from tenants.audit.report import What, Wrong

# By chain and size: the entry that stands there now, if any.
HEADS = """
SELECT h.chain, h.size, encode(e.hash, 'hex')
FROM unnest(%s::uuid[], %s::bigint[]) AS h (chain, size)
LEFT JOIN audit_entry e ON e.chain = h.chain AND e.seq = h.size
"""
FIRST = "SELECT min(public ->> 'at') FROM audit_entry WHERE seq = 1"
HEADS_AT_ONCE = 5_000


def checkpoints(chain: UUID | None, outside: Sequence[Checkpoint], kept: Counter[str]) -> Iterator[Wrong]:
    """What the checkpoints know better than the chains, and what is wrong with them. Counts them into `kept`."""
    inside = after(0)
    kept["checkpoints"] = len(inside)
    signers = _signers()
    yield from _among(inside, signers)
    by_number = {each.n: each for each in inside}
    sound = [each for each in inside if signers is None or each.is_signed(signers)]
    for each in outside:
        if signers is not None and not each.is_signed(signers):
            yield Wrong(CHECKPOINTS, each.n, "signature")  # whoever put it there, it is no checkpoint of ours
            continue
        if (known := by_number.get(each.n)) is None:
            yield Wrong(CHECKPOINTS, each.n, "truncated")
            sound.append(each)
        elif known.body != each.body:
            yield Wrong(CHECKPOINTS, each.n, "forked")
            sound.append(each)
    yield from _heads(sound, chain)
    if chain is None and not _is_fresh(inside):
        yield Wrong(CHECKPOINTS, inside[-1].n if inside else 0, "unsealed")


def _signers() -> Mapping[str, Ed25519PublicKey] | None:
    """None: nobody here can tell, and each checkpoint is unreadable."""
    try:
        return sources.keys().signers()
    except PayloadKeysAway:
        return None


def _among(inside: Sequence[Checkpoint], signers: Mapping[str, Ed25519PublicKey] | None) -> Iterator[Wrong]:
    n, prev = 0, GENESIS
    for each in inside:
        if each.n != n + 1 or each.content.get("n") != each.n:
            yield Wrong(CHECKPOINTS, each.n, "number")
        if each.content.get("prev") != prev:
            yield Wrong(CHECKPOINTS, each.n, "link")
        if signers is None:
            yield Wrong(CHECKPOINTS, each.n, "unreadable")
        elif not each.is_signed(signers):
            yield Wrong(CHECKPOINTS, each.n, "signature")
        n, prev = each.n, each.hash


def _heads(sound: Sequence[Checkpoint], chain: UUID | None) -> Iterator[Wrong]:
    """Where a chain is shorter than a checkpoint says, or ends otherwise there. Each once, at the first such place."""
    told: set[tuple[UUID, What]] = set()
    heads = [
        (UUID(of), int(size), str(head))
        for each in sound
        for of, size, head in each.content["heads"]
        if chain is None or UUID(of) == chain
    ]
    for start in range(0, len(heads), HEADS_AT_ONCE):
        some = heads[start : start + HEADS_AT_ONCE]
        now = _now(some)
        for of, size, head in some:
            found = now.get((of, size))
            what: What = "truncated" if found is None else "forked"
            if found != head and (of, what) not in told:
                told.add((of, what))
                yield Wrong(of, size, what)


def _now(heads: Sequence[tuple[UUID, int, str]]) -> dict[tuple[UUID, int], str | None]:
    with connection.cursor() as cursor:
        cursor.execute(HEADS, ([of for of, _size, _head in heads], [size for _of, size, _head in heads]))
        return {(of, size): found for of, size, found in cursor.fetchall()}


def _is_fresh(inside: Sequence[Checkpoint]) -> bool:
    """The newest is at most two intervals old; before the first one, the log itself is."""
    if inside:
        return timezone.now() - inside[-1].at <= 2 * INTERVAL
    with connection.cursor() as cursor:
        cursor.execute(FIRST)
        (first,) = cursor.fetchone()
    return first is None or timezone.now() - datetime.fromisoformat(first) <= 2 * INTERVAL
