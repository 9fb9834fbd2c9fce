"""Append entries: their chains are locked in one order, and nothing but the append holds the lock."""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import connection

from tenants.actions import Actor, AuditAction, ObjectType, Outcome
from tenants.audit import sources
from tenants.audit.body import PLATFORM_CHAIN, Entry, body_of, personal, tenant_of
from tenants.audit.errors import AuditOutsideTransaction, PayloadKeyGone, PayloadKeysAway
from tenants.audit.payloads import Payload, owner_of, seal
from tenants.models import Tenant

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
KEEP = """
INSERT INTO audit_payload (entry, field, key_id, sealed)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::bytea[])
"""

_log = logging.getLogger(__name__)


class _Prepared(NamedTuple):
    tenant: UUID | None
    body: str
    payloads: tuple[Payload, ...]


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
    personal: Mapping[str, str] | None = None,
) -> None:
    """Append one entry to the chain of `tenant`, or of the platform without one.

    Call it last in the business transaction: the chain's row stays locked until the commit. `object` is what it is
    about, `operation` and `request` the ids it belongs to, `keys` the ids of encryption keys, `counts` numbers under
    the words of COUNTS. `personal` are texts under the words of PERSONAL that the actor typed, or that name them: they
    are sealed under a key of this chain and actor, and can be erased; empty ones are left out.
    Raises AuditBodyError for anything that is not on the lists, AuditOutsideTransaction outside a transaction,
    Tenant.DoesNotExist for an unknown tenant, PayloadKeyGone where the actor is being erased at this moment.

    # Note [An act does not wait for its reason]
    Where the keyring does not answer, the entry is written without its personal values, and a log line says so:
    whoever must stop an operation while a database is away must be able to. The act itself is never untold.
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
        personal=personal,
    )
    write_together((entry,))


def write_together(entries: Iterable[Entry]) -> None:
    """Append several entries, in the order of their chains' ids: in any other, two transactions could deadlock.

    A tenant's chain has an id of its own, random, so that a chain kept after erasure leads to nobody.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction
    given = [_prepared(entry) for entry in entries]
    with connection.cursor() as cursor:
        cursor.execute(APPEND, (PLATFORM_CHAIN, [each.tenant for each in given], [each.body for each in given]))
        if cursor.rowcount < len(given):
            raise Tenant.DoesNotExist
    if payloads := [payload for each in given for payload in each.payloads]:
        _keep(payloads)


def _prepared(entry: Entry) -> _Prepared:
    """Everything that can be done before the chain is locked: all cryptography, and the question for the key."""
    entry_id, tenant = uuid4(), tenant_of(entry)
    values = {personal(name): value for name, value in (entry.personal or {}).items() if value.strip()}
    if not values:
        return _Prepared(tenant, body_of(entry, id=entry_id), ())
    body_of(entry)  # what is not on the lists is refused before a key is made for it
    try:
        key_id, key = sources.keys().active(owner_of(_chain_of(tenant), str(entry.actor)))
    except PayloadKeysAway:
        _log.warning("The keyring does not answer: entry %s is written without %s.", entry_id, ", ".join(values))
        return _Prepared(tenant, body_of(entry, id=entry_id), ())
    sealed = {name: seal(value, entry=entry_id, name=name, key_id=key_id, key=key) for name, value in values.items()}
    commits = {name: (key_id, commitment) for name, (_payload, commitment) in sealed.items()}
    return _Prepared(
        tenant, body_of(entry, id=entry_id, commits=commits), tuple(payload for payload, _mac in sealed.values())
    )


def _chain_of(tenant: UUID | None) -> UUID:
    if tenant is None:
        return PLATFORM_CHAIN
    chain: UUID = Tenant.objects.values_list("audit_chain", flat=True).get(pk=tenant)
    return chain


def _keep(payloads: list[Payload]) -> None:
    """See erasing's Note [Nothing is sealed behind an erasure]: asked again now that the chain is locked."""
    if not sources.keys().are_active({payload.key_id for payload in payloads}):
        raise PayloadKeyGone
    with connection.cursor() as cursor:
        cursor.execute(
            KEEP,
            (
                [each.entry for each in payloads],
                [each.name for each in payloads],
                [each.key_id for each in payloads],
                [each.sealed for each in payloads],
            ),
        )
