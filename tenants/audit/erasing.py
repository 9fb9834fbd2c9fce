"""Erase personal values of the audit log: the sealed rows, then their keys. The chains stay, and verify as before.

# Note [Nothing is sealed behind an erasure]
Whoever writes an entry asks for the key before the chain is locked, and asks again under the lock whether it may still
seal. An erasure first disables the keys, then appends `payload.erased` under the same lock. So either the writer sees
the disabled key and writes nothing, or his entry stands before `payload.erased` and his rows are there to be deleted.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import sources
from tenants.audit.body import PLATFORM_CHAIN
from tenants.audit.writing import write
from tenants.models import Tenant

# Keys that entries of these chains, or of these people, committed under; and which of them an entry says are erased.
FOUND = """
SELECT e.chain, (c.value ->> 0)::uuid AS key_id
FROM audit_entry e, jsonb_each(e.public -> 'commits') AS c
WHERE e.public -> 'commits' <> '{}'::jsonb AND (e.chain = ANY(%(chains)s) OR e.public ->> 'actor' = ANY(%(people)s))
GROUP BY 1, 2
"""
TOLD = """
SELECT k.key_id::uuid, e.public ->> 'action'
FROM audit_entry e, jsonb_array_elements_text(e.public -> 'keys') AS k (key_id)
WHERE e.public ->> 'action' IN ('payload.erased', 'key.destroyed') AND e.chain = %s
"""


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call did: how many keys it destroyed, and how many sealed values it deleted."""

    keys: int
    payloads: int


def erase(*, request: UUID, actor: Actor, tenants: Iterable[UUID] = (), people: Iterable[str] = ()) -> Erased:
    """Make every personal value in these tenants' chains, and of these people (`kind:id`) in all chains, unreadable.

    `request` is the erasure request, and is in both entries, `payload.erased` and `key.destroyed`. Safe to call again
    after a crash at any point. Never inside a transaction.
    Raises PayloadKeysAway.
    """
    if connection.in_atomic_block:
        raise transaction.TransactionManagementError("What is destroyed must not come back with a rollback.")
    found, keys = sorted(_keys(tenants, people).items()), sources.keys()
    if not found:
        return Erased(0, 0)
    payloads = sum(_take(chain, of_chain, request=request, actor=actor) for chain, of_chain in found)
    keys.destroy({key for _chain, of_chain in found for key in of_chain})
    destroyed = sum(_close(chain, of_chain, request=request, actor=actor) for chain, of_chain in found)
    return Erased(destroyed, payloads)


def payloads_of(*, tenants: Iterable[UUID] = (), people: Iterable[str] = ()) -> int:
    """How many sealed values there are of them. For a plan; a verifier has a query of its own."""
    keys = [key for found in _keys(tenants, people).values() for key in found]
    return int(_rows("SELECT count(*) FROM audit_payload WHERE key_id = ANY(%s)", keys)[0][0])


def _keys(tenants: Iterable[UUID], people: Iterable[str]) -> dict[UUID, set[UUID]]:
    chains = list(Tenant.objects.filter(pk__in=list(tenants)).values_list("audit_chain", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(FOUND, {"chains": chains, "people": list(people)})
        found: dict[UUID, set[UUID]] = {}
        for chain, key in cursor.fetchall():
            found.setdefault(chain, set()).add(key)
    return found


def _take(chain: UUID, keys: set[UUID], *, request: UUID, actor: Actor) -> int:
    """Disable the keys, say so in the chain, and delete what lies under them. Returns how many values went."""
    fresh = sorted(keys - _told(chain, AuditAction.PAYLOAD_ERASED))
    if fresh:
        sources.keys().disable(fresh)
    with transaction.atomic(), connection.cursor() as cursor:
        if fresh:
            _tell(AuditAction.PAYLOAD_ERASED, chain, fresh, request=request, actor=actor)
        # Of former erasures too: a restore may have brought them back.
        cursor.execute("DELETE FROM audit_payload WHERE key_id = ANY(%s)", [sorted(keys)])
        return int(cursor.rowcount)


def _close(chain: UUID, keys: set[UUID], *, request: UUID, actor: Actor) -> int:
    """Say in the chain which keys are destroyed, if nobody has. Returns how many that are."""
    if open_ones := sorted(keys - _told(chain, AuditAction.KEY_DESTROYED)):
        with transaction.atomic():
            _tell(AuditAction.KEY_DESTROYED, chain, open_ones, request=request, actor=actor)
    return len(open_ones)


def _tell(action: AuditAction, chain: UUID, keys: Collection[UUID], *, request: UUID, actor: Actor) -> None:
    """Into the very chain. The row of an erased tenant stays, as a skeleton, so the way there does."""
    tenant = None if chain == PLATFORM_CHAIN else Tenant.objects.values_list("pk", flat=True).get(audit_chain=chain)
    write(action, actor=actor, object=(ObjectType.AUDIT_CHAIN, chain), tenant=tenant, request=request, keys=keys)


def _told(chain: UUID, action: AuditAction) -> set[UUID]:
    return {key for key, said in _rows(TOLD, chain) if said == action}


def _rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
