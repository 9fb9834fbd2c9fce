"""What an entry says, as the exact text that is hashed.

# Note [The body is closed]
What an entry says is made of words from the lists in tenants/actions.py, UUIDs, whole numbers and one timestamp. No
word that a person typed can get in: no name, address, slug or message. So the log never has to be rewritten for a
right to erasure, and can be kept, copied and shown to an auditor as it is. A word that is missing is added to its list.
What a person did type is committed to, and lies sealed beside the log: see payloads.py.
A body format is never changed in place: a new one gets a new `v`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from django.core.management import get_commands
from django.utils import timezone

from tenants.actions import COUNTS, PERSONAL, SYSTEM_ACTORS, Actor, AuditAction, ObjectType, Outcome
from tenants.audit.errors import AuditBodyError

VERSION = 1
UUID_TEXT = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
PLATFORM_CHAIN = UUID("7e2c1f60-0000-4000-8000-000000000001")
"""The chain of what belongs to no tenant: clusters, plans, releases, API keys."""


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
    personal: Mapping[str, str] | None = field(default=None, repr=False)


def body_of(entry: Entry, *, id: UUID | None = None, commits: Mapping[str, tuple[UUID, bytes]] | None = None) -> str:
    """Canonical JSON of exactly the keys of the format. `commits`: by field the key's id and the commitment.

    Raises AuditBodyError. See Note [The body is closed].
    """
    return canonical(
        {
            "v": VERSION,
            "entry": str(id or uuid4()),
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
            "commits": {personal(name): [str(key), mac.hex()] for name, (key, mac) in (commits or {}).items()},
        }
    )


def canonical(value: Any) -> str:
    """Sorted keys, no spaces, ASCII: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def typed(actor: Actor, reason: str) -> dict[str, str] | None:
    """The personal values of an act that somebody gave a reason for: that, and the name they went by."""
    return {"reason": reason, "actor_name": actor.name} if reason.strip() else None


def tenant_of(entry: Entry) -> UUID | None:
    return None if entry.tenant is None else _uuid(entry.tenant)


def personal(name: object) -> str:
    """The name of a personal value. Raises AuditBodyError for one that PERSONAL does not list."""
    if name not in PERSONAL:
        raise AuditBodyError
    return str(name)


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
