import pytest
from django.conf import settings
from redis import Redis

from provisioning.erasure import controls
from provisioning.erasure.erasers.cache import CacheEraser
from provisioning.erasure.stores import Identifier
from provisioning.erasure.verifiers.cache import CacheVerifier
from tenants.placement import cache_sentinel
from tests.provisioning.erasure.conftest import Neighbours
from tests.provisioning.erasure.counting import Killed, erased, scope_of, total, verdict

ERASER, VERIFIER = CacheEraser(), CacheVerifier()


def test_keys_of_every_life_go_from_every_database_and_the_neighbours_stay(neighbours: Neighbours) -> None:
    acme, globex = neighbours.acme, neighbours.globex
    scope = scope_of(acme)
    with Redis.from_url(settings.CACHE_URL) as cache, Redis.from_url(settings.CACHE_URL[:-1] + "7") as another:
        controls.plant(acme.tenant_id)
        for n in range(1_500):
            cache.set(f"{acme.key}:{acme.incarnation.hex}:tenure:1:{n}", "x")
        cache.set(f"{acme.key}:{'0' * 32}:tenure:1:of a former life", "x")
        another.set(f"{acme.key}:{acme.incarnation.hex}:session", "ada@example.com")
        cache.set(f"{globex.key}:{globex.incarnation.hex}:tenure:1:0", "x")
        assert total(VERIFIER, scope) == 1_502

        with pytest.raises(Killed):
            erased(ERASER, scope, dies_at=2)
        assert 0 < total(VERIFIER, scope) < 1_502
        erased(ERASER, scope)
        assert verdict(VERIFIER, scope).status == "clean"
        assert total(VERIFIER, scope_of(globex)) == 1
        assert erased(ERASER, scope) == 0

        cache.set(f"report of {acme.tenant_id}", "x")
        assert verdict(VERIFIER, scope).reasons == ("cache:db1 still holds 1",)
        cache.delete(f"report of {acme.tenant_id}", f"{globex.key}:{globex.incarnation.hex}:tenure:1:0")

        cache.delete(controls.CACHE_KEY)
        another.set("somebody's", "x")
        assert verdict(VERIFIER, scope).status == "unknown"
        another.flushdb()


def test_what_is_cached_of_a_person_is_found_in_the_value(neighbours: Neighbours) -> None:
    acme = neighbours.acme
    scope = scope_of(acme, Identifier("email", "Ada@Example.com"), subject=True)
    with Redis.from_url(settings.CACHE_URL) as cache:
        controls.plant(acme.tenant_id)
        cache.hset(f"{acme.key}:{acme.incarnation.hex}:people", "7", "ada@example.com")
        cache.set(f"{acme.key}:{acme.incarnation.hex}:other", "grace@example.com")
        cache.set(cache_sentinel(acme.tenant_id), "1")
        assert (total(VERIFIER, scope), erased(ERASER, scope)) == (1, 1)
        assert cache.keys(f"{acme.key}:*") == [cache_sentinel(acme.tenant_id).encode()]
        assert verdict(VERIFIER, scope).status == "clean"
