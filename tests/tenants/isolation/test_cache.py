from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as project
from django.core.cache import caches
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis

from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import cache as seam
from tenants.isolation.cache import TenantCache, make_key, make_platform_key, open_aliases, page_caches
from tenants.states import Tier


def tenant_named(slug: str) -> TenantContext:
    return TenantContext(uuid4(), uuid4(), slug, Tier.POOL, "local", "tenure_cluster", "pool_1")


ACME, GLOBEX = tenant_named("acme"), tenant_named("globex")
ENTRY = {
    "BACKEND": "tenants.isolation.cache.TenantCache",
    "LOCATION": project.CACHE_URL,
    "KEY_FUNCTION": seam.KEY_FUNCTION,
}


@pytest.fixture
def cache(settings: Any) -> Iterator[TenantCache]:
    settings.CACHES = {
        "default": ENTRY,
        "other": {**ENTRY, "KEY_PREFIX": "other"},
        "star": {**ENTRY, "KEY_PREFIX": "*"},
    }
    yield caches["default"]  # type: ignore[misc]  # the backend that was just set
    with Redis.from_url(project.CACHE_URL) as server:
        server.flushdb()


part = st.text(alphabet="a:%3A*2", max_size=5)
key = st.tuples(st.sampled_from([ACME, GLOBEX, replace(ACME, incarnation=uuid4())]), part, st.integers(1, 22), part)


@given(key, key)
@example((ACME, "a", 1, "2:k"), (ACME, "a:1", 2, "k"))
@example((ACME, "a:", 1, "k"), (ACME, "a", 1, ":k"))
@example((ACME, "", 1, f"{GLOBEX.key}:k"), (GLOBEX, "", 1, "k"))
def test_no_two_values_share_a_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    def made(context: TenantContext, prefix: str, version: int, name: str) -> str:
        with tenant_scope(context):
            return make_key(name, prefix, version)

    assert (made(*one) == made(*other)) == (one == other)


def test_a_key_names_the_tenant_and_its_life() -> None:
    with tenant_scope(ACME):
        assert make_key("k", "site", 1) == f"t_{ACME.tenant_id.hex}:{ACME.incarnation.hex}:site:1:k"


def test_a_neighbour_misses_what_acme_stored(cache: TenantCache) -> None:
    with tenant_scope(ACME):
        cache.set("k", "acme's")
        imitation = make_key("k", "", 1)
    with tenant_scope(GLOBEX):
        assert cache.get("k") is None
        assert cache.get(imitation) is None
        assert cache.get(f"../{imitation}") is None
    with tenant_scope(replace(ACME, incarnation=uuid4())):
        assert cache.get("k") is None
    with tenant_scope(ACME):
        assert cache.get("k") == "acme's"


def test_every_verb_stays_with_its_tenant(cache: TenantCache) -> None:
    for context in (ACME, GLOBEX):
        with tenant_scope(context):
            cache.set_many({"a": context.slug, "b": context.slug})
            assert cache.add("n", 1)
    with tenant_scope(ACME):
        assert cache.incr("n", 5) == 6
        assert not cache.add("a", "again")
        assert cache.get_many(["a", "b", "c"]) == {"a": "acme", "b": "acme"}
        assert cache.touch("a", 0)
        assert not cache.has_key("a")
        assert cache.incr_version("n") == 2
        assert cache.get_or_set("made", lambda: "acme") == "acme"
        cache.delete_many(["a", "b", "n", "made"])
    with tenant_scope(GLOBEX):
        assert cache.get_many(["a", "b", "n", "made"]) == {"a": "globex", "b": "globex", "n": 1}


def test_clear_empties_the_own_part_alone(cache: TenantCache) -> None:
    with tenant_scope(GLOBEX):
        cache.set("k", "globex's")
    with tenant_scope(ACME):
        caches["other"].set("k", "kept")
        cache.set_many({f"k{number}": number for number in range(1_500)})
        cache.set("k", "old", version=2)
        cache.clear()
        cache.clear()
        assert (cache.get("k1499"), cache.get("k", version=2)) == (None, None)
        assert caches["other"].get("k") == "kept"
        caches["star"].set("k", "of a prefix that is a pattern")
        caches["star"].clear()
        assert caches["star"].get("k") is None
        assert caches["other"].get("k") == "kept"
    with tenant_scope(GLOBEX):
        assert cache.get("k") == "globex's"


def test_without_a_scope_there_is_no_cache(cache: TenantCache, caplog: pytest.LogCaptureFixture) -> None:
    for ask in (
        lambda: cache.get("k"),
        lambda: cache.set("k", 1),
        lambda: cache.get_many(["k"]),
        lambda: cache.set_many({"k": 1}),
        lambda: cache.delete("k"),
        lambda: cache.incr("k"),
        lambda: cache.touch("k"),
        lambda: cache.add("k", 1),
        lambda: cache.delete_many(["k"]),
        cache.clear,
    ):
        with pytest.raises(NoTenant):
            ask()
    assert "isolation.refused.cache: no scope" in caplog.text


def test_a_session_opens_in_its_own_tenant_only(cache: TenantCache, settings: Any) -> None:
    store = import_module("django.contrib.sessions.backends.cache").SessionStore
    with tenant_scope(ACME):
        session = store()
        session["who"] = "acme's user"
        session.save()
        assert store(session.session_key)["who"] == "acme's user"
    with tenant_scope(GLOBEX):
        assert store(session.session_key).load() == {}


def test_the_control_planes_own_keys_are_nobodys() -> None:
    assert make_platform_key("k", "tenure", 1) == "p:tenure:1:k"
    with tenant_scope(ACME):
        assert make_platform_key("k", "tenure", 1) == make_key("k", "tenure", 1)


def test_what_a_check_would_complain_of() -> None:
    assert open_aliases({"default": ENTRY, "plain": {"BACKEND": "x"}, "own": {"KEY_FUNCTION": "a.b"}}) == [
        "plain",
        "own",
    ]
    assert open_aliases({"default": {**ENTRY, "KEY_FUNCTION": make_key}}) == []
    assert page_caches(["a.B", "django.middleware.cache.UpdateCacheMiddleware"]) == [
        "django.middleware.cache.UpdateCacheMiddleware"
    ]
