"""Credentials and data keys from the control plane's API, for a process that holds but a key with the right scopes."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from tenants.context import TenantContext
from tenants.errors import TenureError
from tenants.isolation.credentials import Credentials, CredentialsRefused, CredentialsUnavailable
from tenants.isolation.keys import KeyDestroyed, KeyDisabled, KeysRefused, KeysUnavailable, TenantKeys
from tenants.placement import public_id

TIMEOUT_S = 5
MOST_BYTES = 64 * 1024  # an answer takes about 2 kB
BY_CODE: dict[str, type[TenureError]] = {kind.code: kind for kind in (KeyDestroyed, KeyDisabled)}

Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The control plane as an application sees it. `url` is its address without a path."""

    url: str
    key: str = field(repr=False)

    def credentials(self, context: TenantContext) -> Credentials:
        """POST /api/v1/tenants/{id}/credentials. Raises CredentialsRefused or CredentialsUnavailable."""
        return self._asked(
            context, "credentials", Credentials.from_json, refused=CredentialsRefused, away=CredentialsUnavailable
        )

    def data_keys(self, context: TenantContext) -> TenantKeys:
        """POST …/data-keys. Raises KeyDestroyed, KeyDisabled, KeysRefused or KeysUnavailable."""
        return self._asked(context, "data-keys", TenantKeys.from_json, refused=KeysRefused, away=KeysUnavailable)

    def _asked(
        self,
        context: TenantContext,
        door: str,
        read: Callable[[dict[str, Any]], Given],
        *,
        refused: type[TenureError],
        away: type[TenureError],
    ) -> Given:
        if not self.url.startswith(("http://", "https://")):
            raise away("TENURE_API_URL is not an http or https address.")
        try:
            with urllib.request.urlopen(self._request(context, door), timeout=TIMEOUT_S) as reply:  # noqa: S310  http(s)
                return read(json.loads(reply.read(MOST_BYTES)))
        except urllib.error.HTTPError as error:
            with error:
                raise _translated(error, context, refused=refused, away=away) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise away(
                f"The control plane gave no usable answer for tenant {context.slug}: {type(error).__name__}."
            ) from error

    def _request(self, context: TenantContext, door: str) -> urllib.request.Request:
        return urllib.request.Request(  # noqa: S310  checked by the caller
            f"{self.url.rstrip('/')}/api/v1/tenants/{public_id('ten', context.tenant_id)}/{door}",
            method="POST",
            data=b"{}",
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )


def _translated(
    error: urllib.error.HTTPError, context: TenantContext, *, refused: type[TenureError], away: type[TenureError]
) -> TenureError:
    """Only 4xx that will be answered the same again is a refusal (RFC 9110 §15.5)."""
    problem = _problem(error.read(MOST_BYTES))
    text = f"Tenant {context.slug}: {problem.get('detail') or problem.get('title') or error.reason} ({error.code})."
    passing = error.code in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    if passing or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return away(text, status=error.code)
    kind = BY_CODE.get(str(problem.get("code")), refused)
    return kind(text, status=error.code)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
