"""Typed environment variables. Each fails loudly at start, naming the variable and the cure."""

import base64
import binascii
import os
from collections.abc import Container
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

POSTGRES_SCHEMES = ("postgres", "postgresql")


def text(name: str, default: str | None = None) -> str:
    """The variable's text, or `default`. Raises ImproperlyConfigured when neither is there."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(
            f"{name} is not set. `make run` sets it for the embedded stack; elsewhere see docs/configuration.md."
        )
    return value


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def flag(name: str, *, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value not in {"true", "false", "1", "0"}:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to true or false.")
    return value in {"true", "1"}


def number(name: str, default: float) -> float:
    value = text(name, str(default))
    try:
        return float(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to a number.") from error


def url(name: str, *schemes: str, default: str | None = None) -> str:
    """A URL of one of `schemes` with a host."""
    value = text(name, default)
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise ImproperlyConfigured(f"{name} must look like {schemes[0]}://host:port/…, not what it is now.")
    return value


def database(name: str, default: str | None = None) -> dict[str, Any]:
    """A Django DATABASES entry from `postgresql://user:password@host:port/name?option=value`."""
    parts = urlsplit(url(name, *POSTGRES_SCHEMES, default=default))
    if not parts.path.strip("/"):
        raise ImproperlyConfigured(f"{name} names no database: end it with /name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def key(name: str, *, unlike: tuple[str, ...] = ()) -> bytes:
    """32 random bytes in base64: `openssl rand -base64 32` makes one. Not the text of another variable."""
    try:
        value = base64.b64decode(text(name), validate=True)
    except binascii.Error as error:
        raise ImproperlyConfigured(f"{name} is not base64. Make one with `openssl rand -base64 32`.") from error
    if len(value) != 32:  # noqa: PLR2004  AES-256
        raise ImproperlyConfigured(f"{name} holds {len(value)} bytes, not 32. Make one with `openssl rand -base64 32`.")
    if twin := next((other for other in unlike if os.environ.get(other) == os.environ[name]), None):
        raise ImproperlyConfigured(f"{name} is the same as {twin}. Make one of its own: `openssl rand -base64 32`.")
    return value


def folder(name: str) -> Path | None:
    """A folder that is there; None where the variable is not set."""
    if not (value := text(name, "")):
        return None
    path = Path(value).expanduser().resolve()
    if not path.is_dir():
        raise ImproperlyConfigured(f"{name} is {value!r}, where there is no folder. Set it to one, or unset it.")
    return path


def settings_of(module: str, *, taken: Container[str]) -> dict[str, Any]:
    """The settings in a module of the tenant application. Raises ImproperlyConfigured for a name that is `taken`."""
    try:
        found = {name: value for name, value in vars(import_module(module)).items() if name.isupper()}
    except ImportError as error:
        raise ImproperlyConfigured(f"TENANT_SETTINGS names {module}, which cannot be imported: {error}.") from error
    if ours := sorted(name for name in found if name in taken):
        raise ImproperlyConfigured(f"{module} sets {', '.join(ours)}, which the control plane sets. Remove it there.")
    return found
