from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as project
from redis import Redis

from provisioning.models import Claim
from provisioning.providers import CacheNamespace
from provisioning.providers.cache import CacheRefused, NotOwnNamespace
from tenants.context import TenantContext

CACHE = CacheNamespace()


@pytest.fixture
def server() -> Iterator["Redis"]:
    with Redis.from_url(project.CACHE_URL) as client:
        yield client


def test_a_namespace_names_the_tenant_and_its_incarnation(acme: TenantContext) -> None:
    assert CACHE.plan(acme) == {"namespace": f"t_{acme.tenant_id.hex}:{acme.incarnation.hex}:"}


def test_provisioning_leaves_nothing_behind(acme: TenantContext, claim: Claim, server: "Redis") -> None:
    CACHE.provision(acme, CACHE.plan(acme), claim=claim)
    assert list(server.scan_iter(match=f"{acme.key}:*")) == []


def test_a_former_life_is_found_and_can_be_erased(acme: TenantContext, server: "Redis") -> None:
    former = replace(acme, incarnation=uuid4())
    server.set(f"{CACHE.plan(former)['namespace']}report", "old")
    server.set(f"{CACHE.plan(acme)['namespace']}report", "new")
    assert CACHE.count(acme, CACHE.plan(acme)) == 1
    assert [finding.code for finding in CACHE.verify(acme, CACHE.plan(acme))] == ["cache.former_life"]
    assert CACHE.erase(acme, CACHE.plan(former), limit=10) == 1
    assert list(CACHE.verify(acme, CACHE.plan(acme))) == []
    assert CACHE.count(acme, CACHE.plan(acme)) == 1


@pytest.mark.parametrize("namespace", ["", ":", "*:", "t_", "t_*:"])
def test_a_handle_that_would_match_others_is_refused(namespace: str, acme: TenantContext, claim: Claim) -> None:
    for act in (
        lambda: CACHE.erase(acme, {"namespace": namespace}, limit=10),
        lambda: CACHE.deprovision(acme, {"namespace": namespace}, claim=claim),
        lambda: CACHE.count(acme, {"namespace": namespace}),
    ):
        with pytest.raises(NotOwnNamespace):
            act()


def test_the_neighbours_namespace_is_refused(acme: TenantContext, globex: TenantContext) -> None:
    with pytest.raises(NotOwnNamespace):
        CACHE.erase(acme, CACHE.plan(globex), limit=10)


def test_a_wrong_password_is_permanent(acme: TenantContext, claim: Claim, settings: Any) -> None:
    settings.CACHE_URL = project.CACHE_URL.replace("redis://", "redis://nobody:wrong@")
    with pytest.raises(CacheRefused, match="refused"):
        CACHE.provision(acme, CACHE.plan(acme), claim=claim)
