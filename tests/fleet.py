"""Tenants for tests: onboarded for real, by the workflow, driven in this process."""

import os
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import psycopg
from django.db.models.functions import Now

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases import blueprint, pool_layout, pools
from provisioning.databases.layout import lay_out, template_name
from provisioning.models import Queue, Release, Run, RunState
from tenants.audit import Actor
from tenants.models import Cluster, Plan, Pool, Tenant
from tenants.states import Tier

BILLING = Actor(kind="api_key", id="3f2a0c61-0000-4000-8000-000000000001", name="billing")
PLANS = {Tier.POOL: "pool", Tier.SCHEMA: "standard", Tier.DATABASE: "dedicated"}
REGION = "local"
TURNS = 5


def furnish() -> None:
    """What `make run` makes on its first run: a cluster, a plan a tier, a published release; and a pool beside."""
    lifecycle.register_cluster(name="local-1", url=os.environ["CLUSTER_URL"], region=REGION, actor=BILLING)
    for tier, name in PLANS.items():
        Plan.objects.create(name=name, tier=tier, bucket_mode="prefix" if tier == Tier.POOL else "own")
    blueprint.publish(actor=BILLING)
    lay_out_a_pool()


def template_is_there(stack: Stack) -> None:
    """A test that published releases of its own has retired the house's: what its control database knows is gone."""
    release = Release.objects.get(current=True)
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template_name(release),)).fetchone()
    if found is None:
        lay_out(release, Cluster.objects.get())


def lay_out_a_pool() -> Pool:
    """The cluster's next pool, laid out, with nobody in it. The first is in the template of all control databases."""
    pool = pools.next_pool(Cluster.objects.get())
    if pool._state.adding:
        pool.save(force_insert=True)
    pool_layout.lay_out(pool)
    return Pool.objects.select_related("cluster").get(pk=pool.pk)


def wish(slug: str, tier: Tier = Tier.SCHEMA, **more: object) -> lifecycle.TenantWish:
    fields = {"slug": slug, "name": slug.title(), "plan": PLANS[tier], "principal": "billing", "region": REGION, **more}
    return lifecycle.TenantWish(**fields)  # type: ignore[arg-type]  # the test's own words


def accepted(slug: str, tier: Tier = Tier.SCHEMA) -> Run:
    """A run that nobody has begun to drive."""
    return lifecycle.onboard(wish=wish(slug, tier), actor=BILLING, key=str(uuid4()))


def driven(run: Run) -> Run:
    """The run, driven in this process until nothing more can be done about it now."""
    lifecycle.advance(queue=Queue(run.queue))
    run.refresh_from_db()
    return run


def succeeded(run: Run) -> None:
    """Drive it to its end. A server that was busy for a moment is asked again at once. Raises AssertionError."""
    for _turn in range(TURNS):
        run = driven(run)
        if run.state == RunState.SUCCEEDED:
            return
        Run.objects.filter(pk=run.pk, lease_until=None).update(run_at=Now() - timedelta(days=1))
    raise AssertionError((run.state, run.error))


def done(verb: Callable[..., Run], tenant: Tenant, **more: object) -> Tenant:
    """The tenant after a verb of its lifecycle, driven to its end."""
    succeeded(verb(tenant=tenant, reason="as the test has it", actor=BILLING, key=str(uuid4()), **more))
    return Tenant.objects.get(pk=tenant.pk)


def onboarded(slug: str, tier: Tier = Tier.SCHEMA) -> Tenant:
    """An active tenant. Raises AssertionError with the operation's error if it did not become one."""
    succeeded(accepted(slug, tier))
    return Tenant.objects.get(slug=slug)
