"""The audit log: one hash chain per tenant and one for the platform, appended to and never changed.

# Note [The body is closed]
What an entry says is made of words from the lists in tenants/actions.py, UUIDs, whole numbers and one timestamp. No
word that a person typed can get in: no name, address, slug or message. So the log never has to be rewritten for a right to
erasure, and can be kept, copied and shown to an auditor as it is. A word that is missing is added to its list here.
A body format is never changed in place: a new one gets a new `v`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.core.management import get_commands
from django.db import connection
from django.utils import timezone

from tenants.actions import COUNTS, SYSTEM_ACTORS, Actor, AuditAction, ObjectType, Outcome
from tenants.errors import TenureError
from tenants.models import Tenant

__all__ = ["Actor", "AuditAction", "Entry", "ObjectType", "Outcome", "chain_of", "write", "write_together"]

VERSION = 1
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
class Entry:
    """One thing that happened. See `write` for the fields."""

    action: AuditAction
    actor: Actor
    object: tuple[ObjectType, UUID | int]
    outcome: Outcome = Outcome.DONE
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
    try:
        entry = Entry(
            action=AuditAction(action),
            actor=actor,
            object=(ObjectType(object[0]), object[1]),
            outcome=Outcome(outcome),
            tenant=tenant,
            operation=operation,
            request=request,
            keys=tuple(keys),
            counts=counts,
        )
    except ValueError:
        raise AuditBodyError from None  # its message quotes what was passed, which must not reach a log either
    write_together((entry,))


def write_together(entries: Iterable[Entry]) -> None:
    """Append several entries, in the order of their chains' ids: in any other, two transactions could deadlock."""
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction
    located = [(chain_of(entry.tenant), body_of(entry)) for entry in entries]
    with connection.cursor() as cursor:
        for chain, body in sorted(located, key=lambda found: found[0]):
            cursor.execute("SELECT audit_append(%s, %s)", (chain, body))


def chain_of(tenant: UUID | None) -> UUID:
    """The chain's id: random for a tenant, so that a chain kept after erasure leads to nobody."""
    if tenant is None:
        return PLATFORM_CHAIN
    return Tenant.objects.values_list("audit_chain", flat=True).get(pk=_uuid(tenant))


def body_of(entry: Entry) -> str:
    """The exact text that is hashed and stored: canonical JSON. See Note [The body is closed]."""
    return json.dumps(
        {
            "v": VERSION,
            "entry": str(uuid4()),
            "at": timezone.now().isoformat(timespec="microseconds"),
            "action": AuditAction(entry.action),
            "actor": _actor(entry.actor),
            "tenant": _optional(entry.tenant),
            "object_type": ObjectType(entry.object[0]),
            "object_id": _id(entry.object[1]),
            "outcome": Outcome(entry.outcome),
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


def _actor(actor: Actor) -> str:
    """`kind:id` when the id is one of the four kinds' own; a name in place of an id raises."""
    match actor.kind:
        case "api_key" | "user":
            known = _is_uuid(actor.id) or (actor.id.isascii() and actor.id.isdigit())
        case "command":
            known = actor.id in get_commands()
        case "system":
            known = actor.id in SYSTEM_ACTORS
        case _:
            known = False
    if not known:
        raise AuditBodyError
    return str(actor)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text or UUID(text).hex == text
    except ValueError:
        return False


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
