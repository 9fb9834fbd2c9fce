"""Tenants' tokens in Django REST framework.

class Projects(ListAPIView):
    authentication_classes = (TenantTokenAuthentication,)
    permission_classes = (HasTokenScope,)
    token_scopes = {"GET": "projects:read", "POST": "projects:write"}
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenants.context import current
from tenants.isolation import tokens
from tenants.isolation.keyset import KeySetUnavailable
from tenants.isolation.tokens import Claims, TokenOfAnotherTenant, TokenRefused

if TYPE_CHECKING:  # Django REST framework reads its settings, and so this file, while it imports its views
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who came with a token, as `request.user`. No row of the application's: what it may do is in its scopes alone."""

    id: str
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> str:
        return self.id

    def __str__(self) -> str:
        return self.id


class Unavailable(APIException):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "Tokens cannot be verified right now. Try again in a moment."
    default_code = "unavailable"


class TenantTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` of the tenant whose scope is open. `request.auth` is the token's Claims.

    Behind TenantHostMiddleware the token was verified already; elsewhere it is verified here. Raises NoTenant outside
    of a scope: without a tenant there is nothing to let anybody in to.
    """

    def authenticate(self, request: Request) -> tuple[Bearer, Claims] | None:
        if (token := tokens.bearer(request._request)) is None:  # noqa: SLF001  the headers are Django's
            return None
        claims: Claims | None = getattr(request._request, "tenant_claims", None)  # noqa: SLF001
        if claims is None:
            claims = self._claims(token)
        return Bearer(claims.subject), claims

    def authenticate_header(self, _request: Request) -> str:
        return 'Bearer realm="tenant"'

    def _claims(self, token: str) -> Claims:
        scope = current()
        try:
            return tokens.claims_at(token, tenant_id=scope.tenant_id, incarnation=scope.incarnation)
        except TokenRefused as error:
            raise AuthenticationFailed(str(error)) from error
        except TokenOfAnotherTenant as error:
            raise PermissionDenied(str(error)) from error
        except KeySetUnavailable as error:
            raise Unavailable from error


class HasTokenScope(BasePermission):
    """The token holds the scope that the view's `token_scopes` names for the method. No entry: nobody may."""

    message = "The token lacks the scope that this needs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        wanted: dict[str, str] = getattr(view, "token_scopes", {})
        method = "GET" if request.method == "HEAD" else str(request.method)
        return isinstance(request.auth, Claims) and wanted.get(method) in request.auth.scopes
