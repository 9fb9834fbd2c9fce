"""Signed checkpoints: how long each chain was at some moment, and with which hash it ended.

A chain that is rewritten with new hashes verifies by itself. It does not agree with a checkpoint that was signed before
and is kept where the database's owner cannot reach. Hashes only: a checkpoint never stands in the way of an erasure.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection, transaction
from django.utils import timezone

from tenants.audit.body import VERSION, canonical

INTERVAL = timedelta(minutes=15)
PREFIX = b"tenure/audit/1/checkpoint\x00"
GENESIS = bytes(32).hex()
LOCK = 0x7E2C1F62  # of pg_advisory_xact_lock: two sweepers make one checkpoint
CHECKPOINTS = UUID("7e2c1f60-0000-4000-8000-000000000002")
"""Stands for a chain where a finding is about the checkpoints themselves; its numbers are theirs."""

# One statement, so one snapshot: ends of chains that were committed at one moment.
GROWN = """
SELECT c.chain::text, c.size, encode(c.head, 'hex')
FROM audit_chain c LEFT JOIN audit_sealed s USING (chain) WHERE c.size > coalesce(s.size, 0) ORDER BY c.chain
"""
SEALED = """
INSERT INTO audit_sealed (chain, size) SELECT * FROM unnest(%s::uuid[], %s::bigint[])
ON CONFLICT (chain) DO UPDATE SET size = excluded.size
"""

Sign = Callable[[bytes], bytes]
"""Signs bytes with Ed25519; returns the 64 bytes of the signature."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`body` is the exact text that is signed, after PREFIX."""

    n: int
    body: str = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def content(self) -> dict[str, Any]:
        """`{v, n, at, prev, chains, heads: [[chain, size, head], …], key}`; empty where that is no JSON."""
        try:
            found: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return {}
        return found

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.content["at"])

    @property
    def hash(self) -> str:
        return sha256(self.body.encode()).hexdigest()

    def is_signed(self, signers: Mapping[str, Ed25519PublicKey]) -> bool:
        """By a key that we know. Anybody else's signature is none."""
        try:
            signers[self.content["key"]].verify(self.signature, PREFIX + self.body.encode())
        except (InvalidSignature, KeyError, ValueError, TypeError):
            return False
        return True

    def as_json(self) -> str:
        """The form in which it is kept outside."""
        return canonical({"n": self.n, "body": self.body, "signature": self.signature.hex()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError."""
        found = json.loads(text)
        try:
            return cls(int(found["n"]), str(found["body"]), bytes.fromhex(found["signature"]))
        except (KeyError, TypeError) as error:
            raise ValueError("This is no checkpoint.") from error


def newest() -> Checkpoint | None:
    found = after(-1, newest_first=True)
    return found[0] if found else None


def after(n: int, *, newest_first: bool = False) -> list[Checkpoint]:
    """Those behind number `n`, or only the newest of them, from the table."""
    order = "ORDER BY n DESC LIMIT 1" if newest_first else "ORDER BY n"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT n, body, signature FROM audit_checkpoint WHERE n > %s {order}", [n])
        return [Checkpoint(number, body, bytes(signature)) for number, body, signature in cursor.fetchall()]


def make(*, key: str, sign: Sign, at_once: bool = False) -> Checkpoint | None:
    """Sign how all chains end now, if the newest checkpoint is INTERVAL old, or `at_once`; also when nothing happened.

    `key` is the id of the key that `sign` uses: it is in the signed text. None: it is not time yet.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        last = newest()
        if not at_once and not _is_due(last):
            return None
        cursor.execute("SELECT count(*) FROM audit_chain")
        chains = cursor.fetchone()[0]
        cursor.execute(GROWN)
        heads = cursor.fetchall()
        n = 1 if last is None else last.n + 1
        body = canonical(
            {
                "v": VERSION,
                "n": n,
                "at": timezone.now().isoformat(timespec="microseconds"),
                "prev": GENESIS if last is None else last.hash,
                "chains": chains,
                "heads": [list(head) for head in heads],
                "key": key,
            }
        )
        signature = sign(PREFIX + body.encode())
        cursor.execute("INSERT INTO audit_checkpoint (n, body, signature) VALUES (%s, %s, %s)", [n, body, signature])
        cursor.execute(SEALED, _columns(heads))
    return Checkpoint(n, body, signature)


def is_due() -> bool:
    """Whether `make` would make one now."""
    return _is_due(newest())


def _is_due(last: Checkpoint | None) -> bool:
    return last is None or timezone.now() - last.at >= INTERVAL


def _columns(heads: Collection[tuple[str, int, str]]) -> tuple[list[str], list[int]]:
    return [chain for chain, _size, _head in heads], [size for _chain, size, _head in heads]
