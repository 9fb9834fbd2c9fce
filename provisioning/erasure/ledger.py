"""The ledger of tombstones: what was erased, remembered outside every database that a backup could take back.

# Note [Two counters]
`seq` is given at the bar, before anything is destroyed, and committed in the keyring database first. `certified` is
given with the certificate. Once it is written as a mark into every database the erased data was ever in, the tombstone
says so (`marked_at`), and from then on a database whose mark is lower comes from before that erasure: a restore, or a
snapshot that nobody can tell from the original by its name, its id or its timeline.
A backup from between bar and certificate has a lower mark, too, and whatever was already gone in it is erased again:
absent is success. The control database also remembers the highest `seq` it has seen at a bar, so that one restored from
before the bar, which has forgotten the request, does not pass for one where nothing happened.

# Note [No needle in the ledger]
A tenant is its random id. A person is HMAC-SHA256 under a pepper of the keyring, over tenant, kind and normalised
identifier: whoever has the restored database can look each person there up, and whoever has the ledger alone can look
up nobody, not even with a list of addresses.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connections, transaction
from django.db.models import F, Max, Value
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from provisioning.databases.marks import raise_mark
from provisioning.erasure.identifiers import normal
from provisioning.erasure.stores import Identifier, Scope
from provisioning.models import LedgerMark, Tombstone
from provisioning.providers.keys import keyring_errors
from provisioning.providers.payload_keys import active
from provisioning.providers.write_once import WriteOnce
from tenants.errors import TenureError
from tenants.models import Cluster, Placement
from tenants.placement import tenant_key

CONTROL = "control"
"""The control database as a place. A tenants' database is `cluster/database`."""

Place: TypeAlias = str
PREFIX = b"tenure/ledger/1\x00"
OUTSIDE = "ledger/"
GENESIS = bytes(32)
LOCK = 0x7E2C1F64  # of pg_advisory_xact_lock in the keyring database: numbers without gaps
PEPPER = UUID("7e2c1f60-0000-4000-8000-000000000003")  # whose key the pepper is: the ledger's own
HASHED = ("seq", "at", "request", "scope", "tenant_id", "incarnation", "refs", "places", "voids")


class TombstoneVoid(TenureError):
    """The erasure of this tombstone never passed its bar, or is certified: it is not the one that was meant."""

    code = "TOMBSTONE_VOID"
    cure = "Read the request's tombstones; record a new one at the bar."


@dataclass(frozen=True, slots=True)
class Broken:
    """A row of the ledger that is not what was written: its number, its link, or its hash."""

    seq: int
    what: str


def record(scope: Scope, *, places: Sequence[Place]) -> int:
    """The tombstone of a request, at the bar and before it: returns its `seq`. Repeating it returns the same.

    Committed at once, in the keyring database. Then, in the transaction that crosses the bar: `crossed(seq)`.
    Raises KeyringUnreachable.
    """
    refs = (
        [str(scope.tenant_id)]
        if scope.kind == "tenant"
        else [ref_of(scope.tenant_id, each.kind, each.value) for each in scope.identifiers]
    )
    with keyring_errors(), transaction.atomic(using="keyring"):
        _lock()
        if (known := _of(scope.request_id)) is not None:
            return known.seq
        return _append(
            request=scope.request_id,
            scope=scope.kind,
            tenant_id=scope.tenant_id,
            incarnation=scope.incarnation,
            refs=refs,
            places=list(places),
        ).seq


def crossed(seq: int) -> None:
    """Part of the transaction of the control database that crosses the bar: it has heard of this tombstone."""
    LedgerMark.objects.bulk_create([LedgerMark()], ignore_conflicts=True)
    LedgerMark.objects.update(bar=Greatest(F("bar"), Value(seq)))


def void(seq: int) -> int:
    """The bar was never crossed: a numbered successor says so, and is returned. TombstoneVoid where it is certified."""
    with keyring_errors(), transaction.atomic(using="keyring"):
        _lock()
        stone = Tombstone.objects.get(pk=seq)
        if stone.voided_by is not None:
            return stone.voided_by
        if stone.certified is not None or stone.voids is not None:
            raise TombstoneVoid
        successor = _append(
            request=stone.request,
            scope=stone.scope,
            tenant_id=stone.tenant_id,
            incarnation=stone.incarnation,
            refs=[],
            places=[],
            voids=seq,
        )
        Tombstone.objects.filter(pk=seq).update(voided_by=successor.seq)
        return successor.seq


def certify(seq: int) -> int:
    """Give the erasure its second number, with its certificate. Repeating it returns the same. Then: `mark(seq)`."""
    with keyring_errors(), transaction.atomic(using="keyring"):
        _lock()
        stone = Tombstone.objects.get(pk=seq)
        if stone.voided_by is not None or stone.voids is not None:
            raise TombstoneVoid
        if stone.certified is None:
            stone.certified = (Tombstone.objects.aggregate(last=Max("certified"))["last"] or 0) + 1
            Tombstone.objects.filter(pk=seq).update(certified=stone.certified, certified_at=Now())
        return stone.certified


def mark(seq: int) -> None:
    """Write the number of a certified erasure into every database it is about; also after it was replayed there.

    Safe to repeat. Raises ServerUnavailable, ServerRefused, KeyringUnreachable; TombstoneVoid if it is not certified.
    """
    with keyring_errors():
        stone = Tombstone.objects.get(pk=seq)
    if stone.certified is None:
        raise TombstoneVoid
    for place in stone.places:
        mark_place(place, stone.certified)
    with keyring_errors():
        Tombstone.objects.filter(pk=seq, marked_at=None).update(marked_at=Now())


def mark_place(place: Place, certified: int) -> None:
    """From now on the database knows everything up to this number; one that is gone for good is left out.

    Raises ServerUnavailable, ServerRefused.
    """
    if place == CONTROL:
        LedgerMark.objects.bulk_create([LedgerMark()], ignore_conflicts=True)
        LedgerMark.objects.update(certified=Greatest(F("certified"), Value(certified)))
        return
    name, database = place.split("/", 1)
    if (cluster := Cluster.objects.filter(name=name).first()) is not None:
        raise_mark(cluster, database, certified)


def places_of(scope: Scope) -> tuple[Place, ...]:
    """Every database that the tenant's data was ever in: the control database, and each placement's.

    A database that goes with its tenant cannot be marked; the shared one of its cluster stands for it.
    """
    places = [CONTROL]
    for placed in Placement.objects.filter(tenant=scope.tenant_id).select_related("cluster").order_by("since"):
        places.append(f"{placed.cluster.name}/{placed.cluster.database}")
        if scope.kind == "subject" or placed.database != tenant_key(scope.tenant_id):
            places.append(f"{placed.cluster.name}/{placed.database}")
    return tuple(dict.fromkeys(places))


def ref_of(tenant_id: UUID, kind: str, value: str) -> str:
    """How the ledger names a person's identifier, however it is spelled. See Note [No needle in the ledger]."""
    return _ref(_pepper(), tenant_id, Identifier(kind, value))


def told_by(stone: Tombstone, candidates: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """Those of them that the tombstone names. Raises KeyringUnreachable."""
    pepper, refs = _pepper(), set(stone.refs)
    return tuple(dict.fromkeys(each for each in candidates if _ref(pepper, stone.tenant_id, each) in refs))


def _pepper() -> bytes:
    with keyring_errors():
        return active(PEPPER, "ledger")[1]


def _ref(pepper: bytes, tenant_id: UUID, identifier: Identifier) -> str:
    parts = (tenant_id.bytes, identifier.kind.encode(), normal(identifier).encode())
    return hmac.digest(pepper, b"".join(len(part).to_bytes(4, "big") + part for part in parts), sha256).hex()


def copy_outside(store: WriteOnce) -> int:
    """Put every tombstone that is not outside yet there. Returns the highest number outside.

    A number that the ledger does not know means that the keyring is older than an erasure: nothing else remembers it.
    Raises StoreUnreachable, StoreRefused, KeyringUnreachable.
    """
    newest = store.newest(OUTSIDE)
    highest = int(newest.removeprefix(OUTSIDE).removesuffix(".json")) if newest else 0
    with keyring_errors():
        missing = list(Tombstone.objects.filter(seq__gt=highest).order_by("seq"))
    for stone in missing:
        store.put(f"{OUTSIDE}{stone.seq:012d}.json", f'{{"said":{_said(stone)},"hash":"{bytes(stone.hash).hex()}"}}')
        highest = stone.seq
    return highest


def named(seq: int | None) -> dict[str, Any]:
    """A tombstone as a certificate names it: its number, and the hash over it and all before it."""
    with keyring_errors():
        stone = None if seq is None else Tombstone.objects.filter(pk=seq).first()
    return {"seq": seq, "hash": None if stone is None else f"sha256:{bytes(stone.hash).hex()}"}


def last() -> int:
    """The ledger's highest number; 0: nothing was ever erased."""
    with keyring_errors():
        return int(Tombstone.objects.aggregate(last=Max("seq"))["last"] or 0)


def broken() -> Iterable[Broken]:
    """Every row that is not as it was written."""
    seq, prev = 0, GENESIS
    with keyring_errors():
        for stone in Tombstone.objects.order_by("seq"):
            if stone.seq != seq + 1:
                yield Broken(stone.seq, "number")
            if bytes(stone.prev) != prev:
                yield Broken(stone.seq, "link")
            if bytes(stone.hash) != _hash(stone):
                yield Broken(stone.seq, "hash")
            seq, prev = stone.seq, bytes(stone.hash)


def _of(request: UUID) -> Tombstone | None:
    return Tombstone.objects.filter(request=request, voids=None, voided_by=None).first()


def _append(**fields: Any) -> Tombstone:
    last = Tombstone.objects.order_by("-seq").first()
    stone = Tombstone(
        seq=1 if last is None else last.seq + 1,
        prev=GENESIS if last is None else bytes(last.hash),
        at=timezone.now(),
        **fields,
    )
    stone.hash = _hash(stone)
    stone.save(force_insert=True)
    return stone


def _hash(stone: Tombstone) -> bytes:
    return sha256(PREFIX + bytes(stone.prev) + _said(stone).encode()).digest()


def _said(stone: Tombstone) -> str:
    """What is hashed, and what is kept outside."""
    said = {name: getattr(stone, name) for name in HASHED}
    said["at"] = stone.at.isoformat(timespec="microseconds")
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)


def _lock() -> None:
    with connections["keyring"].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
