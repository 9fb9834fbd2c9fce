"""/tenants/{id}/data-keys and /tokens: what an application's process asks for while it works for a tenant."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import NoBodyRequest, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, request_id, serves, who
from controlplane.api.fields import Constant, Text, Whole
from controlplane.api.ids import found
from controlplane.api.openapi import IF_MATCH, NO_STORE
from controlplane.api.tenants import TENANT
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.workflows.tokens import MOST_LIFE, MOST_SCOPES, SCOPE, SUBJECT
from tenants.isolation.keys import DataKey, KeyState, TenantKeys
from tenants.models import Tenant

MOST_LIFE_S = int(MOST_LIFE.total_seconds())
NEVER_KEPT = {"Cache-Control": "no-store"}


class DataKeyShape(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=[str(state) for state in KeyState])
    key = serializers.CharField(
        allow_null=True, help_text="32 bytes in URL-safe base64; null when the state lets it open nothing."
    )


class DataKeysShape(serializers.Serializer[Any]):
    """The keys that open a tenant's encrypted fields."""

    keys = DataKeyShape(many=True, help_text="Every key it has or had. Exactly one is active: write with that.")
    index_key = DataKeyShape(help_text="For blind indexes.")


@extend_schema_serializer(
    examples=[OpenApiExample("For a member", value={"subject": "member-4711", "scopes": ["projects:read"]})]
)
class TokenRequest(Shape):
    """For whom, what for, and for how long."""

    subject = Text(
        validators=[RegexValidator(f"^{SUBJECT.pattern}$")],
        help_text="The application's own name for them: better an id than an address.",
    )
    scopes = serializers.ListField(
        child=Text(validators=[RegexValidator(f"^{SCOPE.pattern}$")]), required=False, max_length=MOST_SCOPES
    )
    lifetime_s = Whole(required=False, min_value=1, max_value=MOST_LIFE_S)


class TokenShape(serializers.Serializer[Any]):
    """A token, shown this once."""

    access_token = serializers.CharField(help_text="A JWT, signed with a key of /.well-known/jwks.json.")
    token_type = Constant("Bearer")
    expires_in = serializers.IntegerField(help_text="In seconds (RFC 6749 §5.1).")
    expires_at = serializers.DateTimeField()
    jti = serializers.UUIDField(help_text="The name of this token in the audit log.")


class HandOutDataKeys(Endpoint):
    @serves(
        scope=Scope.TENANTS_KEYS,
        name="hand_out_tenant_data_keys",
        summary="Hand out a tenant's data keys",
        takes=NoBodyRequest,
        parameters=(TENANT, IF_MATCH, NO_STORE),
        answers={200: (DataKeysShape, "The secrets. Nothing here keeps them: do not log this answer.")},
        problems=(
            Code.NOT_FOUND,
            Code.STATE_CONFLICT,
            Code.KEY_DISABLED,
            Code.KEY_DESTROYED,
            Code.ETAG_MISMATCH,
        ),
    )
    def post(self, request: Request, tenant: str) -> Response:
        """What opens the tenant's encrypted fields. Keep it in memory, for five minutes; each hand-out is audited."""
        shaped(request, NoBodyRequest)
        row = found(Tenant.objects.all(), "ten", tenant)
        etags.expected_version(request, row.version)
        keys = lifecycle.hand_out_data_keys(tenant=row, actor=who(request), request_id=request_id(request))
        return Response(DataKeysShape(_shown(keys)).data, headers=NEVER_KEPT)


class MintToken(Endpoint):
    @serves(
        scope=Scope.TENANTS_TOKENS,
        name="mint_tenant_token",
        summary="Mint a token for a tenant's application",
        takes=TokenRequest,
        parameters=(TENANT, IF_MATCH, NO_STORE),
        answers={200: (TokenShape, "The token. Nothing here keeps it: do not log this answer.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.ETAG_MISMATCH),
    )
    def post(self, request: Request, tenant: str) -> Response:
        """Lets its bearer in at this tenant's host names alone, for 15 minutes at most; each one is audited.

        An Idempotency-Key has no use here: a token is never kept to be repeated.
        """
        asked = shaped(request, TokenRequest)
        row = found(Tenant.objects.all(), "ten", tenant)
        etags.expected_version(request, row.version)
        lifetime_s = asked.get("lifetime_s", MOST_LIFE_S)
        minted = lifecycle.mint_token(
            tenant=row,
            subject=asked["subject"],
            scopes=asked.get("scopes", ()),
            life=timedelta(seconds=lifetime_s),
            actor=who(request),
            request_id=request_id(request),
        )
        answer = {
            "access_token": minted.token,
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "expires_at": minted.expires_at,
            "jti": minted.jti,
        }
        return Response(TokenShape(answer).data, headers=NEVER_KEPT)


def _shown(keys: TenantKeys) -> dict[str, Any]:
    return {"keys": [_shown_key(key) for key in keys.keys.values()], "index_key": _shown_key(keys.index)}


def _shown_key(key: DataKey) -> dict[str, Any]:
    secret = None if key.key is None else base64.urlsafe_b64encode(key.key).decode()
    return {"id": key.id, "state": key.state, "key": secret}
