"""Publish an application, onboard acme and globex in every tier, and let both work in it at once. Run as a program.

`python -m tests.applications.twins PACKAGE` prints JSON: by tier, by tenant, what the package's `story` told.
In a process of its own: which apps are the tenants' is a setting of the whole process.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from threading import Barrier
from typing import Any, Protocol

import django
import psycopg

if __name__ == "__main__":
    django.setup()

from django.apps import apps
from django.db import connection
from django.test import Client, override_settings

from provisioning import lifecycle
from provisioning.databases import blueprint
from tenants.context import TenantContext, tenant_scope
from tenants.isolation import credentials
from tenants.isolation.connections import let_default_follow_scope
from tenants.isolation.routing import is_tenant_app
from tenants.models import Cluster, Plan, Pool
from tenants.states import Tier
from tests import databases, fleet

SLUGS = ("acme", "globex")
WAITS_S = 60  # for the other tenant's half of a chapter


class Story(Protocol):
    """What a package's `story` module holds. A chapter's answer must hold no id: a pool's sequences are shared."""

    SITE: dict[str, Any]

    def work(self, slug: str) -> dict[str, Any]:
        """Through the ORM, in the tenant's scope."""

    def visit(self, client: Client, context: TenantContext) -> dict[str, Any]:
        """Over HTTP, at the tenant's host name."""

    def reckon(self, slug: str) -> dict[str, Any]:
        """Through the ORM again: what both have left behind, and what goes with what is deleted."""


@dataclass(frozen=True, slots=True)
class Known:
    """The credential source of this process: asked beforehand, while `default` is the control database."""

    given: dict[str, credentials.Credentials]

    def credentials(self, context: TenantContext) -> credentials.Credentials:
        return self.given[context.key]


def furnish() -> None:
    """As `fleet.furnish`, beside the pools that other tests of this session have made on the cluster."""
    lifecycle.register_cluster(name="local-1", url=os.environ["CLUSTER_URL"], region=fleet.REGION, actor=fleet.BILLING)
    for tier, name in fleet.PLANS.items():
        Plan.objects.create(name=name, tier=tier, bucket_mode="prefix" if tier == Tier.POOL else "own")
    cluster = Cluster.objects.get()
    with psycopg.connect(os.environ["CLUSTER_URL"]) as there:
        for (schema,) in there.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pool\\_%'").fetchall():
            Pool.objects.create(cluster=cluster, schema=schema, state=Pool.State.CLOSED, sealed_password=b"")
    blueprint.publish(actor=fleet.BILLING)
    fleet.lay_out_a_pool()


def onboarded() -> dict[Tier, list[TenantContext]]:
    """Two tenants a tier, and from here on `default` is the tenant of the open scope."""
    tenants = {tier: [fleet.onboarded(f"{slug}-{tier}", tier) for slug in SLUGS] for tier in fleet.PLANS}
    known = {
        tenant.context().key: lifecycle.hand_out_credentials(tenant=tenant, actor=fleet.BILLING).for_scope()
        for pair in tenants.values()
        for tenant in pair
    }
    credentials.register(Known(known))
    contexts = {tier: [tenant.context() for tenant in pair] for tier, pair in tenants.items()}
    let_default_follow_scope()
    return contexts


def told(story: Story, pair: list[TenantContext]) -> dict[str, dict[str, Any]]:
    """Each chapter begins when both tenants are ready for it, and then they are in each other's way."""
    with ThreadPoolExecutor(len(pair)) as threads:
        together = Barrier(len(pair), timeout=WAITS_S)
        acme, globex = pair
        telling = {
            acme.slug: threads.submit(_tell, story, acme, globex, together),
            globex.slug: threads.submit(_tell, story, globex, acme, together),
        }
        return {slug: each.result() for slug, each in telling.items()}


def _tell(story: Story, context: TenantContext, other: TenantContext, together: Barrier) -> dict[str, Any]:
    try:
        with _both_or_none(together):
            return dict(_chapters(story, context, other.slug, together.wait))
    finally:
        databases.close_all()


@contextmanager
def _both_or_none(together: Barrier) -> Iterator[None]:
    try:
        yield
    except BaseException:
        together.abort()  # the other must not wait for us
        raise


def _chapters(
    story: Story, context: TenantContext, other: str, meet: Callable[[], int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    slug = context.slug
    meet()
    with tenant_scope(context):
        yield "work", story.work(slug)
    meet()
    yield "visit", story.visit(Client(headers={"host": f"{slug}.localhost"}), context)
    meet()
    with tenant_scope(context):
        yield "traces", {"own": traces_of(slug), "others": traces_of(other)}
    meet()
    with tenant_scope(context):
        yield "reckon", story.reckon(slug)


def traces_of(slug: str) -> dict[str, int]:
    """In each table of the tenant application, how many rows hold this text anywhere: asked of the database itself."""
    tables = sorted(
        {
            model._meta.db_table
            for config in apps.get_app_configs()
            if is_tenant_app(config.label)
            for model in config.get_models(include_auto_created=True)
        }
        & set(connection.introspection.table_names())
    )
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" row WHERE row::text LIKE %s', [f"%{slug}%"])
            if rows := cursor.fetchone()[0]:
                found[table] = rows
        return found


def main(package: str) -> None:
    furnish()
    contexts = onboarded()
    story: Any = import_module(f"{package}.story")
    with override_settings(ALLOWED_HOSTS=["*"], **story.SITE):
        print(json.dumps({str(tier): told(story, pair) for tier, pair in contexts.items()}))  # noqa: T201  the answer


if __name__ == "__main__":
    main(sys.argv[1])
    databases.close_all()
