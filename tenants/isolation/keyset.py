"""The public keys that tokens are verified with: from one configured address, kept, and never from where a token says.

# Note [How often the key set is asked for]
Every KEPT_S, and once more when a token names a key that is not in it, but at most once in ASK_AGAIN_S: whoever sends
made-up key ids must not make us a source of requests. A new key is published for ten minutes before it signs, so none
of ours is unknown for long. While the control plane is away the last set serves for STALE_S more: tokens live a quarter
of an hour, so a revoked key is worth little by then, and an outage there must not shut every tenant's doors.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from threading import Lock
from typing import Any

import jwt

from tenants.errors import TenureError

KEPT_S = 300
ASK_AGAIN_S = 60
STALE_S = 3_600
RETRY_S = 5
TIMEOUT_S = 5
MOST_BYTES = 64 * 1024
NEVER = float("-inf")

logger = logging.getLogger(__name__)

ASYMMETRIC = frozenset("ES256 ES384 ES512 EdDSA RS256 RS384 RS512 PS256 PS384 PS512".split())
"""A verifier that takes a symmetric algorithm takes the published key as its secret (RFC 8725 §2.1)."""


class KeySetUnavailable(TenureError):
    """The keys that tokens are verified with cannot be read."""

    code = "KEY_SET_UNAVAILABLE"
    cure = "Try again in a moment. If it lasts, check TENURE_JWKS_URL and the control plane."


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever can answer at our address may still not send us to another one."""

    def redirect_request(self, *_args: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


class KeySet:
    """The JWK set at one address. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, jwt.PyJWK] = {}
        self.fetched_at = self.tried_at = self.asked_again_at = NEVER  # as time.monotonic() counts
        self.lock = Lock()

    def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of this id, or None. Raises KeySetUnavailable while there is no set to look in."""
        now = time.monotonic()
        if now >= self.fetched_at + KEPT_S:
            self._fetch(now)
        elif kid not in self.keys and now >= self.asked_again_at + ASK_AGAIN_S:
            self.asked_again_at = now
            self._fetch(now)
        if now >= self.fetched_at + KEPT_S + STALE_S:
            raise KeySetUnavailable
        return self.keys.get(kid)

    def _fetch(self, now: float) -> None:
        """Once for all threads that want it now; who has a former set does not wait for it. A failure leaves that."""
        if not self.lock.acquire(blocking=not self.keys):
            return
        try:
            failed_just_now = self.fetched_at < self.tried_at and now < self.tried_at + RETRY_S
            if self.fetched_at >= now or failed_just_now:
                return
            self.tried_at = time.monotonic()
            self.keys = _read(self.url)
            self.fetched_at = time.monotonic()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            logger.warning("The key set at %s cannot be read: %s.", self.url, type(error).__name__)
        finally:
            self.lock.release()


def _read(url: str) -> dict[str, jwt.PyJWK]:
    if not url.startswith(("http://", "https://")):
        raise ValueError("not an http or https address")
    with _opener.open(url, timeout=TIMEOUT_S) as reply:
        listed: list[dict[str, Any]] = json.loads(reply.read(MOST_BYTES))["keys"]
    return {str(one["kid"]): jwt.PyJWK(one) for one in listed if one.get("alg") in ASYMMETRIC}
