"""What erasers and verifiers are told of a request: its scope, identifiers opened, and what is held."""

from provisioning.erasure import sealed
from provisioning.erasure.holds import held_records
from provisioning.erasure.stores import Held, Kind, Scope
from provisioning.models import ErasureRequest


def kind_of(request: ErasureRequest) -> Kind:
    return "tenant" if request.kind == "tenant" else "subject"


def scope_of(request: ErasureRequest) -> Scope:
    """Raises keys.KeyDestroyed once the request has ended, keys.KeyringUnreachable. Never log or keep it."""
    return Scope(
        kind=kind_of(request),
        tenant_id=request.tenant_id,
        incarnation=request.incarnation,
        request_id=request.pk,
        identifiers=sealed.opened_identifiers(request.pk, request.identifiers),
        held=tuple(Held(hold.store, hold.locator) for hold in held_records(request)),
    )
