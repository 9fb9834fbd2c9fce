"""Open personal values beside the log, for whoever may see them: the doors decide who that is."""

from collections.abc import Collection, Mapping
from uuid import UUID

from tenants.audit import inside
from tenants.audit.errors import PayloadTampered
from tenants.audit.payloads import opened


def personal_of(entries: Collection[UUID]) -> Mapping[UUID, Mapping[str, str | None]]:
    """By entry and name: the text, or None where it was erased, cannot be opened, or is not what was committed to.

    One question for the rows and one for their keys, however many entries; those without such values are left out.
    """
    found = list(inside.entries_among(entries))
    keys = inside.keys_of(found)
    return {each.entry: {name: _text(each, name, keys) for name in each.commits} for each in found}


def _text(each: inside.Of, name: str, keys: Mapping[UUID, bytes]) -> str | None:
    payload, (key_id, committed) = each.payloads.get(name), each.commits[name]
    if payload is None or payload.key_id != key_id or key_id not in keys:
        return None
    try:
        return opened(payload, committed=committed, key=keys[key_id])
    except PayloadTampered:
        return None
