"""Rate limits: one atomic counter per key and window in Valkey.

# Note [Requests pass when the counter is away]
A limit protects the service from one eager caller; refusing everybody because the counter cannot be read would be the
larger harm. So a lost Valkey lets requests through and is logged as a finding. Tenants, keys and operations are in
PostgreSQL and need no Valkey.
"""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from controlplane.api.codes import Code
from controlplane.api.errors import Problem
from controlplane.models import ApiKey
from tenants.findings import Finding, Severity
from tenants.isolation.cache import make_platform_key

if TYPE_CHECKING:  # Django REST framework reads its settings, and so this file, while it imports its views
    from rest_framework.views import APIView

WINDOW_S = 60
HOUR_S = 3600
NAMES = "limit"  # of the counters, behind the control plane's own prefix: no tenant's key can equal one
FAILED_AUTHENTICATIONS = 20  # a minute and address
SILENCE_S = 5  # after a failure: a request must not wait for a dead server, again and again

UNCOUNTED = Finding(
    code="api.uncounted",
    severity=Severity.WARNING,
    subject="rate limits",
    message="Valkey does not answer, so requests are not counted and no limit holds.",
    hint="Check CACHE_URL and the server behind it; nothing else depends on it.",
)

log = logging.getLogger(__name__)


class _Silence:
    """Until when this process leaves Valkey alone, as time.monotonic() counts."""

    until = 0.0


@cache
def _valkey() -> Redis:
    return Redis.from_url(settings.CACHE_URL, socket_connect_timeout=0.5, socket_timeout=0.5)


def count(subject: str, *, window_s: int = WINDOW_S) -> int:
    """Count one event of `subject` in the current window and return how many there were; 0 when nobody can count."""
    if time.monotonic() < _Silence.until:
        return 0
    name = make_platform_key(f"{subject}:{int(time.time()) // window_s}", NAMES, 1)
    try:
        # One transaction: a counter without an expiry would stay for ever.
        with _valkey().pipeline(transaction=True) as together:
            together.incr(name)
            together.expire(name, 2 * window_s)
            counted, _ = together.execute()
    except RedisError as error:
        _Silence.until = time.monotonic() + SILENCE_S
        log.warning("%s: %s %s (%s)", UNCOUNTED.code, UNCOUNTED.message, UNCOUNTED.hint, error)
        return 0
    return int(counted)


def seconds_left(window_s: int = WINDOW_S) -> int:
    """Whole seconds until the current window ends; at least 1."""
    return window_s - int(time.time()) % window_s


def count_erasure(key: ApiKey) -> None:
    """One more erasure that this key asks for. Raises Problem RATE_LIMITED beyond what it may in the hour.

    Each is work for two people, and a key that fell into the wrong hands must not ask for the whole fleet at once.
    """
    if count(f"{key.id.hex}:erasures", window_s=HOUR_S) <= key.erasures_per_hour:
        return
    raise Problem(
        Code.RATE_LIMITED,
        f"This key has asked for {key.erasures_per_hour} erasures in this hour, which is what it may.",
        metadata={"erasures_per_hour": key.erasures_per_hour},
        headers={"Retry-After": str(seconds_left(HOUR_S))},
    )


class KeyLimit(BaseThrottle):
    """Reads and writes a minute, as the key says. Requests without a key were refused before they come here."""

    def allow_request(self, request: Request, _view: APIView) -> bool:
        key = request.auth
        if not isinstance(key, ApiKey):
            return True
        if request.method in {"GET", "HEAD"}:
            return count(f"{key.id.hex}:reads") <= key.reads_per_minute
        return count(f"{key.id.hex}:writes") <= key.writes_per_minute

    def wait(self) -> float:
        return float(seconds_left())
