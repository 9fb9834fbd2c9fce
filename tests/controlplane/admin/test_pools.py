"""Pools: how full they are, and the verbs that change whether new tenants may come."""

import psycopg
import pytest
from django.test import Client

from controlplane.stack.embedded import Stack
from provisioning.databases.pools import password_of
from provisioning.databases.tiers import LoginRole, connect
from tenants.models import AuditEntry, Cluster, Pool
from tenants.states import Tier
from tests.fleet import accepted, onboarded
from tests.pools import pool_apart

POOLS = "/admin/tenants/pool/"


@pytest.fixture
def pool(door: None) -> Pool:
    """pool_1, with room for four and one tenant in it."""
    Pool.objects.update(capacity=4)
    accepted("acme", Tier.POOL)
    return Pool.objects.get()


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def confirmed(client: Client, pool: Pool, verb: str, **typed: str) -> int:
    """Read the verb's page, then confirm it."""
    form = client.get(f"{POOLS}{pool.pk}/{verb}/").context["form"]
    kept = {name: form.fields[name].initial for name in ("digest", "key", "shown")}
    return client.post(f"{POOLS}{pool.pk}/{verb}/", {**kept, **typed}).status_code


def test_the_list_shows_how_full_each_pool_is(ops: Client, pool: Pool) -> None:
    text = page(ops, POOLS)
    assert "1 of 4" in text
    assert 'aria-valuetext="1 of 4 tenants"' in text
    assert "scaleX(250e-3)" in text


def test_a_pool_its_tenants_and_its_cluster_lead_to_each_other(ops: Client, pool: Pool) -> None:
    text = page(ops, f"{POOLS}{pool.pk}/")
    for fact in (f"p_{pool.pk.hex}", f"g_{pool.pk.hex}", f"p-{pool.pk.hex}", "pool_1"):
        assert fact in text
    assert ">acme<" in page(ops, "/admin/tenants/tenant/?cluster=local-1&pool=pool_1")
    assert ">acme<" not in page(ops, "/admin/tenants/tenant/?cluster=local-1&pool=pool_2")
    assert f"{POOLS}{pool.pk}/" in page(ops, f"/admin/tenants/cluster/{pool.cluster_id}/")
    tenant = pool.placements.get().tenant
    assert f"{POOLS}{pool.pk}/" in page(ops, f"/admin/tenants/tenant/{tenant.pk}/")


@pytest.mark.parametrize(("verb", "state"), [("drain", "draining"), ("close", "closed")])
def test_a_pool_that_is_not_open_takes_nobody_and_opens_again(ops: Client, pool: Pool, verb: str, state: str) -> None:
    assert confirmed(ops, pool, verb) == 302
    pool.refresh_from_db()
    assert pool.state == state
    run = accepted("globex", Tier.POOL)
    assert run.tenant is not None
    assert run.tenant.context().schema == "pool_2"
    assert confirmed(ops, pool, "open") == 302
    assert AuditEntry.objects.filter(public__action="pool.changed").count() == 2


def test_a_full_pool_is_followed_by_the_next_until_the_cluster_is_full(ops: Client, pool: Pool) -> None:
    assert confirmed(ops, pool, "capacity", capacity="2") == 302
    where = []
    for slug in ("globex", "initech"):
        tenant = accepted(slug, Tier.POOL).tenant
        assert tenant is not None
        where.append(tenant.context().schema)
    assert where == ["pool_1", "pool_2"]
    assert dict(Pool.objects.values_list("schema", "placed")) == {"pool_1": 2, "pool_2": 1}
    assert Cluster.objects.get().placed == 3


def test_a_capacity_of_nothing_is_refused(ops: Client, pool: Pool) -> None:
    assert confirmed(ops, pool, "capacity", capacity="0") == 422


def test_the_shared_password_is_rotated_for_all_at_once(ops: Client, stack: Stack) -> None:
    with pool_apart(stack) as pool:
        globex = onboarded("globex", Tier.POOL).context()
        before = password_of(pool)
        with connect(globex) as open_session:
            assert confirmed(ops, pool, "rotate_password") == 302
            assert open_session.execute("SELECT count(*) FROM projects_tag").fetchall() == [(4,)]
        pool.refresh_from_db()
        assert LoginRole().login(globex) == (f"p_{pool.pk.hex}", password_of(pool))
        assert password_of(pool) != before
        with connect(globex) as session:
            assert session.execute("SELECT count(*) FROM projects_tag").fetchall() == [(4,)]
            url = session.info.dsn
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url, password=before)


def test_looking_is_no_permission_to_change(viewer: Client, pool: Pool) -> None:
    assert "Drain" not in page(viewer, f"{POOLS}{pool.pk}/")
    assert viewer.get(f"{POOLS}{pool.pk}/drain/").status_code == 403
