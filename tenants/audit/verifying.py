"""Verify the audit log: every hash of the chains, every sealed value, every signed checkpoint."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from tenants.audit import against, inside
from tenants.audit.checkpoints import Checkpoint
from tenants.audit.report import NOT_KNOWN, SHOWN, Report, Wrong

GENESIS = bytes(32)
CHUNK = 2_000  # entries fetched at once while verifying: about 2 MB


def verify(
    chain: UUID | None = None,
    *,
    outside: Sequence[Checkpoint] = (),
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Verify one chain, or all; `progress` hears of each chunk of entries. Reads in order, holds no chain in memory.

    Recomputes each hash from the stored text, opens each sealed value and compares it with its commitment, and compares
    the chains with the signed checkpoints of the table and those from `outside`. What the owner of the database
    rewrote behind the newest checkpoint that lies outside, nothing shows.
    """
    seen = _Seen(progress)
    for _chain, links in groupby(_links(chain), key=lambda link: link.chain):
        seen.chains += 1
        seq, prev = 0, GENESIS
        for link in links:
            seen.take(_wrong(link, seq, prev))
            if link.seq is not None:
                seq, prev = link.seq, link.hash
                seen.entry()
    kept: Counter[str] = Counter()
    seen.take(inside.payloads(chain, kept))
    seen.take(against.checkpoints(chain, outside, kept))
    return seen.report(kept)


def entry_hash(chain: UUID, seq: int, prev: bytes, body: str) -> bytes:
    """The same 32 bytes that `audit_append` computes in the database, computed apart from it."""
    head = b"tenure/audit/1/entry\x00" + chain.bytes + seq.to_bytes(8, "big")
    return sha256(head + prev + body.encode()).digest()


class _Seen:
    """What was found so far."""

    def __init__(self, progress: Callable[[int], object] | None) -> None:
        self.progress = progress
        self.chains = self.entries = self.wrong = self.unknown = 0
        self.places: list[Wrong] = []

    def take(self, found: Iterator[Wrong]) -> None:
        for place in found:
            if place.what in NOT_KNOWN:
                self.unknown += 1
            else:
                self.wrong += 1
            if len(self.places) < SHOWN:
                self.places.append(place)

    def entry(self) -> None:
        self.entries += 1
        if self.progress is not None and self.entries % CHUNK == 0:
            self.progress(CHUNK)

    def report(self, kept: Counter[str]) -> Report:
        if self.progress is not None:
            self.progress(self.entries % CHUNK)
        return Report(
            chains=self.chains,
            entries=self.entries,
            wrong=self.wrong,
            places=tuple(self.places),
            unknown=self.unknown,
            sealed=kept["sealed"],
            erased=kept["erased"],
            checkpoints=kept["checkpoints"],
        )


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
