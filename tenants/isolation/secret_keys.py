"""Secret keys that the isolation kit is given: in the settings, or else in the environment, checked where used."""

import base64
import os

from django.conf import settings

from tenants.errors import TenureError

KEY_BYTES = 32
MAKE_ONE = "`openssl rand -base64 32` makes one"


class SecretKeyMissing(TenureError):
    """A secret key that the isolation kit needs is not set."""

    code = "SECRET_KEY_MISSING"


class SecretKeyUnusable(TenureError):
    """A secret key that the isolation kit needs is no base64, or too short."""

    code = "SECRET_KEY_UNUSABLE"


def secret_key(name: str) -> bytes:
    """The key called `name`: bytes in the settings as they are, text there or in the environment as base64.

    Raises SecretKeyMissing, or SecretKeyUnusable for what is not base64 or shorter than 32 bytes. The message names the
    variable and never its value.
    """
    value = getattr(settings, name, None) or os.environ.get(name)
    if not value:
        raise SecretKeyMissing(f"{name} is not set.", cure=f"Set {name} to 32 random bytes in base64: {MAKE_ONE}.")
    key = value if isinstance(value, bytes) else _decoded(name, str(value))
    if len(key) < KEY_BYTES:
        raise SecretKeyUnusable(
            f"{name} holds {len(key)} bytes, and {KEY_BYTES} are needed.", cure=f"Set another {name}: {MAKE_ONE}."
        )
    return key


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_" if set("-_") & set(text) else None, validate=True)
    except ValueError:  # binascii.Error is one
        raise SecretKeyUnusable(f"{name} is not base64.", cure=f"Set another {name}: {MAKE_ONE}.") from None
