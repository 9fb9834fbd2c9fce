"""What erasers and verifiers are told of a request: its scope, identifiers opened, and what is held."""

from collections.abc import Iterator
from uuid import UUID

from provisioning.erasure import sealed
from provisioning.erasure.holds import held_records
from provisioning.erasure.naming import identifiers_of
from provisioning.erasure.stores import Held, Identifier, Kind, Scope
from provisioning.models import ErasureRequest

NAMES = "control_rows"
"""The store whose erasing blanks a tenant's names: they are read, and sealed with its enumeration, before that."""


def kind_of(request: ErasureRequest) -> Kind:
    return "tenant" if request.kind == "tenant" else "subject"


def scope_of(request: ErasureRequest) -> Scope:
    """Raises keys.KeyDestroyed once the request has ended, keys.KeyringUnreachable. Never log or keep it."""
    return Scope(
        kind=kind_of(request),
        tenant_id=request.tenant_id,
        incarnation=request.incarnation,
        request_id=request.pk,
        identifiers=tuple(dict.fromkeys(_named(request))),
        held=held_of(request.pk),
    )


def held_of(request_id: UUID) -> tuple[Held, ...]:
    """What is held of it now."""
    open_ones = held_records(request_id)
    return tuple(Held(hold.store, hold.locator, hold.ground, hold.review_at) for hold in open_ones)


def _named(request: ErasureRequest) -> Iterator[Identifier]:
    """Of a person what was given, and files found by it. Of a tenant what names it in rows, or did before they went."""
    if request.kind == "subject":
        yield from sealed.opened_identifiers(request.pk, request.identifiers)
        return
    for row in request.stores.filter(store=NAMES).exclude(found=None).order_by("round"):
        items = sealed.opened_items(request.pk, NAMES, row.found)
        yield from (Identifier(kind, value) for kind, value in items.get("identifiers", ()))
    yield from identifiers_of(request.tenant_id)
