"""What cache, files, keys, logs and the audit log are kept apart by, weakened."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from django.conf import settings
from django.db import connections
from django.test import override_settings

from provisioning.providers import credentials as vending
from provisioning.workflows.handing_out import InProcess
from tenants.context import TenantContext
from tenants.isolation import credentials, envelope, keys, storage
from tenants.isolation.keys import TenantKeys
from tests.isolation import kept
from tests.isolation.arena import ALL, Arena, Place
from tests.isolation.attack import Shows
from tests.isolation.weakened.weakening import Weakening, patched


@contextmanager
def plain_cache(_arena: Arena) -> Iterator[None]:
    """Django's own cache and key function."""
    plain = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": settings.CACHE_URL}
    with override_settings(CACHES={"default": plain}):
        yield


@contextmanager
def wide_sessions(_arena: Arena) -> Iterator[None]:
    """Vended sessions may do everything that the vending identity may, and no name is looked at."""
    everything = {"Effect": "Allow", "Action": ["s3:*", "sts:*", "iam:*"], "Resource": ["arn:aws:s3:::*", "*"]}
    former = credentials._kept.source
    with ExitStack() as patches:
        policy = {"Version": "2012-10-17", "Statement": [everything]}
        json.dumps(policy)
        patches.enter_context(patched(vending, "session_policy", lambda _place: policy))
        patches.enter_context(patched(storage, "is_safe", lambda _name: True))
        credentials.register(InProcess())
        try:
            yield
        finally:
            credentials.register(former)


@contextmanager
def one_key(arena: Arena) -> Iterator[None]:
    """One set of keys for all tenants, and values bound to nothing."""

    class Everybodys:
        def data_keys(self, _context: TenantContext) -> TenantKeys:
            return given

    former = keys._kept.source
    assert former is not None
    given = former.data_keys(arena.globex)
    keys.register(Everybodys())
    try:
        with patched(envelope, "_bound_to", lambda *_where: b""):
            yield
    finally:
        keys.register(former)


def plain_lines(_arena: Arena) -> AbstractContextManager[None]:
    """Python's own formatter: an error with all it quotes."""
    return patched(kept, "JsonLines", lambda: logging.Formatter("%(message)s"))


@contextmanager
def open_audit(_arena: Arena) -> Iterator[None]:
    role = settings.DATABASES["default"]["USER"]
    with connections["owner"].cursor() as owner:
        owner.execute(f'GRANT UPDATE, DELETE, TRUNCATE ON audit_entry TO "{role}"')
        try:
            yield
        finally:
            owner.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON audit_entry FROM "{role}"')
            connections["owner"].close()


WEAKENINGS = (
    Weakening(
        "a cache without the key function",
        plain_cache,
        {"AT-50": Shows.CANARY, "AT-51": Shows.CHANGE, "AT-52": Shows.CANARY},
    ),
    Weakening(
        "storage sessions for everything",
        wide_sessions,
        {"AT-60": Shows.CANARY, "AT-61": Shows.ANSWER, "AT-62": Shows.CANARY, "AT-63": Shows.ANSWER},
    ),
    Weakening("one key for all", one_key, {"AT-80": Shows.CANARY, "AT-83": Shows.ANSWER}, ALL),
    Weakening("logs as they come", plain_lines, {"AT-90": Shows.CANARY}),
    Weakening("an audit log open to the application", open_audit, {"AT-93": Shows.ANSWER}, frozenset({Place.POOL})),
)
