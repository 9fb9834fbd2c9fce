"""Secrets and sources: what must be set, what must not be here, and what must not be the same."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error

from tenants.isolation import credentials, keys
from tenants.isolation.checks.tasks import celery_apps
from tenants.isolation.reencryption import encrypted_fields
from tenants.isolation.secret_keys import MAKE_ONE, SecretKeyMissing, SecretKeyUnusable, secret_key

CONTEXT, MASTER, KMS = "TENURE_CONTEXT_SECRET", "TENURE_MASTER_KEY", "TENURE_MASTER_KEY_KMS"
HEADER, FORMER_HEADER = "TENURE_HEADER_SECRET", "TENURE_HEADER_SECRET_FORMER"
SECRETS = ("SECRET_KEY", CONTEXT, MASTER, HEADER, FORMER_HEADER, "TENURE_API_KEY")


def secrets_are_apart(**_options: Any) -> Iterator[Error]:
    """tenants.E011: a secret that is missing, too short, in the wrong process, or the same as another."""
    control_plane = apps.is_installed("provisioning")
    for name in _needed(control_plane=control_plane):
        try:
            secret_key(name)
        except (SecretKeyMissing, SecretKeyUnusable) as error:
            yield Error(str(error), hint=error.cure, id="tenants.E011")
    for name in () if control_plane else (CONTEXT, MASTER):
        if _values(name):
            yield Error(
                f"{name} is set in an application's process: whoever runs code there is every tenant.",
                hint="Take it out of these settings and this environment. It belongs to the control plane alone.",
                id="tenants.E011",
            )
    for one, other in combinations(SECRETS, 2):
        if _values(one) & _values(other):
            yield Error(f"{one} and {other} are the same.", hint=f"Make one of its own: {MAKE_ONE}.", id="tenants.E011")


def somebody_can_be_asked(**_options: Any) -> Iterator[Error]:
    """tenants.E012: nobody in this process could hand out a tenant's credentials, or the keys of its fields."""
    hint = "Set TENURE_API_URL and TENURE_API_KEY, or register a source of your own when the app is ready."
    url = getattr(settings, "TENURE_API_URL", "")
    if credentials.source() is None:
        yield Error("No source of tenants' credentials: TENURE_API_URL is not set.", hint=hint, id="tenants.E012")
    elif url and not url.startswith(("http://", "https://")):
        yield Error("TENURE_API_URL is not an http or https address.", hint=hint, id="tenants.E012")
    if url and not getattr(settings, "TENURE_API_KEY", ""):
        yield Error(
            "TENURE_API_KEY is not set.",
            hint="Make a key with the scope tenants:credentials: `manage.py api_key` in the control plane.",
            id="tenants.E012",
        )
    if keys.source() is None and (field := next(encrypted_fields(), None)) is not None:
        yield Error(f"No source of data keys, and {field} is encrypted.", hint=hint, id="tenants.E012")


def _needed(*, control_plane: bool) -> list[str]:
    if control_plane:
        return [CONTEXT] if getattr(settings, KMS, "") else [CONTEXT, MASTER]
    return [HEADER] if celery_apps() or _values(HEADER) else []


def _values(name: str) -> set[bytes]:
    """As they are written and as they are meant: the same 32 bytes may stand here as bytes and there as base64."""
    found: set[bytes] = set()
    for value in (getattr(settings, name, None), os.environ.get(name)):
        if not value:
            continue
        written = value if isinstance(value, bytes) else str(value).encode()
        found.add(written)
        try:
            found.add(base64.b64decode(written, altchars=b"-_" if set(b"-_") & set(written) else None, validate=True))
        except ValueError:
            continue
    return found
