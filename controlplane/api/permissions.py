"""Who calls, and what that key may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from controlplane.api.codes import Code
from controlplane.api.errors import Problem
from controlplane.api.limits import FAILED_AUTHENTICATIONS, count, seconds_left
from controlplane.keys import key_of
from controlplane.models import ApiKey

if TYPE_CHECKING:  # Django REST framework reads its settings, and so this file, while it imports its views
    from rest_framework.views import APIView


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer tnr_<key id>_<secret>`. No cookie is ever read here, hence there is no CSRF to guard."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if (key := key_of(token.strip())) is None:
            raise refusal(request)
        return key, key

    def authenticate_header(self, _request: Request) -> str:
        return 'Bearer realm="tenure"'


class HasScope(BasePermission):
    """The key holds the scope that the called verb names in its contract."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        key = request.auth
        if not isinstance(key, ApiKey):
            return False
        handler = getattr(view, str(request.method).lower(), None)
        scope: str | None = getattr(handler, "scope", None)
        if scope is not None and scope not in key.scopes:
            raise Problem(Code.SCOPE_MISSING, f"The key lacks the scope {scope}.", metadata={"scope": scope})
        return True


def refusal(request: Request) -> APIException:
    """Count a failed authentication of this address: 401, or 429 when there were too many in this minute.

    A valid key passes even then: its secret cannot be guessed, and a stranger behind the same address must not be able
    to lock its owner out.
    """
    if count(f"address:{BaseThrottle().get_ident(request)}") > FAILED_AUTHENTICATIONS:
        return Throttled(wait=seconds_left())
    return AuthenticationFailed()
