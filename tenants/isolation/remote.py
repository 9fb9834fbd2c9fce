"""Credentials from the control plane's API, for a process that holds nothing but a key with the right scope."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tenants.context import TenantContext
from tenants.isolation.credentials import Credentials, CredentialsRefused, CredentialsUnavailable
from tenants.placement import public_id

TIMEOUT_S = 5
MOST_BYTES = 64 * 1024  # an answer takes about 2 kB


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The control plane as an application sees it. `url` is its address without a path."""

    url: str
    key: str = field(repr=False)

    def credentials(self, context: TenantContext) -> Credentials:
        """POST /api/v1/tenants/{id}/credentials. Raises CredentialsRefused or CredentialsUnavailable."""
        try:
            with urllib.request.urlopen(self._request(context), timeout=TIMEOUT_S) as reply:  # noqa: S310  http(s) only
                return Credentials.from_json(json.loads(reply.read(MOST_BYTES)))
        except urllib.error.HTTPError as error:
            with error:
                raise _translated(error, context) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CredentialsUnavailable(
                f"The control plane gave no usable answer for tenant {context.slug}: {type(error).__name__}."
            ) from error

    def _request(self, context: TenantContext) -> urllib.request.Request:
        if not self.url.startswith(("http://", "https://")):
            raise CredentialsUnavailable("TENURE_API_URL is not an http or https address.")
        return urllib.request.Request(  # noqa: S310  checked above
            f"{self.url.rstrip('/')}/api/v1/tenants/{public_id('ten', context.tenant_id)}/credentials",
            method="POST",
            data=b"{}",
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )


def _translated(error: urllib.error.HTTPError, context: TenantContext) -> CredentialsRefused | CredentialsUnavailable:
    """Only 4xx that will be answered the same again is a refusal (RFC 9110 §15.5)."""
    problem = _problem(error.read(MOST_BYTES))
    text = f"Tenant {context.slug}: {problem.get('detail') or problem.get('title') or error.reason} ({error.code})."
    passing = error.code in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    if passing or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return CredentialsUnavailable(text, status=error.code)
    return CredentialsRefused(text, status=error.code)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
