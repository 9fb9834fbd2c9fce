"""The keys that tenants' tokens are signed with, for whoever has to verify one."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from provisioning import lifecycle
from provisioning.workflows.tokens import PUBLISHED_FOR


@require_safe
def key_set(_request: HttpRequest) -> JsonResponse:
    """A JWK set (RFC 7517 §5). It holds public keys alone, so anybody may read and keep it, for PUBLISHED_FOR."""
    return JsonResponse(
        {"keys": lifecycle.published_keys()},
        content_type="application/jwk-set+json",
        headers={"Cache-Control": f"public, max-age={int(PUBLISHED_FOR.total_seconds())}"},
    )
