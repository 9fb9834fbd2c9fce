"""acme and globex side by side in each place a tenant can live, onboarded by the workflow, with data to steal."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import uuid4

import psycopg
from botocore.exceptions import ClientError
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connections, transaction
from psycopg import sql
from redis import Redis

from controlplane.stack.embedded import Stack
from examples.projects.models import Document, Member, Project, Tag
from provisioning import lifecycle
from provisioning.databases import ddl, pool_layout, pool_rows, pools, space
from provisioning.databases.servers import connect as connect_to_cluster
from provisioning.databases.servers import run
from provisioning.providers.s3 import s3_client
from tenants.context import TenantContext, tenant_scope
from tenants.isolation.connections import alias_of
from tenants.isolation.storage import own_place
from tenants.models import Cluster, Pool, Tenant
from tenants.states import Tier
from tests import databases, fleet, pair
from tests.provisioning.databases.making import plan_with_role

TEMPLATE = "arena"
SCHEMA = "pool_77"  # a pool of its own: weakening one must not reach tenants of other tests
SEEDED = 4  # tags that a release begins with


class Place(StrEnum):
    """Where both tenants live."""

    POOL = "pool"
    OWN_ROLE = "own-role"  # in the same pool, each with a login role of its own
    SCHEMA = "schema"
    DATABASE = "database"


ALL = frozenset(Place)
POOLED = frozenset({Place.POOL, Place.OWN_ROLE})
PLANS = {
    Place.POOL: (Tier.POOL, "pool"),
    Place.OWN_ROLE: (Tier.POOL, "pool-own-role"),
    Place.SCHEMA: (Tier.SCHEMA, "standard"),
    Place.DATABASE: (Tier.DATABASE, "dedicated"),
}


@dataclass(frozen=True, slots=True)
class Arena:
    """One place. acme attacks; whatever is globex's holds `canary`, which is made anew in each run."""

    place: Place
    acme: TenantContext
    globex: TenantContext
    stack: Stack = field(repr=False)
    web: int  # port of the control plane on 127.0.0.1
    key: str = field(repr=False)  # of the API
    canary: str = field(default_factory=lambda: f"canary{secrets.token_hex(8)}")
    own: str = field(default_factory=lambda: f"acmes{secrets.token_hex(8)}")

    @property
    def neighbours_table(self) -> str:
        """globex's projects, as acme would name them."""
        return f'"{self.globex.schema}".projects_project'

    def superuser(self, context: TenantContext | None = None) -> psycopg.Connection:
        """To the database of acme, or of somebody else."""
        return psycopg.connect(self.stack.superuser_url, dbname=(context or self.acme).database, autocommit=True)

    def word(self, context: TenantContext) -> str:
        return self.own if context == self.acme else self.canary


def make(stack: Stack) -> dict[Place, tuple[TenantContext, TenantContext]]:
    """acme and globex in each place, in a control database that is kept as a template."""
    databases.load(stack, pair.TEMPLATE)
    plan_with_role()
    _lay_out_a_pool()
    made = {place: (_onboarded("acme", place), _onboarded("globex", place)) for place in Place}
    databases.save_as(stack, TEMPLATE)
    return made


def _lay_out_a_pool() -> None:
    Pool.objects.update(state=Pool.State.CLOSED)
    pool = pools.next_pool(Cluster.objects.get())
    pool.schema = SCHEMA
    pool.save(force_insert=True)
    pool_layout.lay_out(pool)


def _onboarded(slug: str, place: Place) -> TenantContext:
    tier, plan = PLANS[place]
    wish = fleet.wish(f"{slug}-{place}", tier, plan=plan)
    fleet.succeeded(lifecycle.onboard(wish=wish, actor=fleet.BILLING, key=str(uuid4())))
    return Tenant.objects.get(slug=wish.slug).context()


def plant(arena: Arena) -> None:
    """Both tenants' things as they are before an attack, whatever an attack before has left of them."""
    remove_rows(arena)
    for context in (arena.acme, arena.globex):
        word = arena.word(context)
        with tenant_scope(context), transaction.atomic(using=alias_of(context)):
            Tag.objects.create(name=word)
            Member.objects.create(name=word, email=f"{word}@example.org")
            project = Project.objects.create(name=word, description=word)
            Document.objects.create(project=project, file=f"{word}.txt", title=word)
        with tenant_scope(context):
            pair.remove_files("")
            default_storage.save("plan.txt", ContentFile(word.encode()))
            caches["default"].clear()
            caches["default"].set("k", word, timeout=None)


def stands(arena: Arena) -> bool:
    """Whether the first thing of every kind that `plant` makes is still there, of both tenants."""
    return all(_stands(context, arena.word(context)) for context in (arena.acme, arena.globex))


def _stands(context: TenantContext, word: str) -> bool:
    with tenant_scope(context):
        kept = caches["default"].get("k") == word and default_storage.exists("plan.txt")
        return kept and Tag.objects.filter(name=word).exists()


def restore_bucket(context: TenantContext) -> None:
    """An attack may have deleted it, objects and all: the embedded store asks for no empty one."""
    bucket, _prefix = own_place(context)
    try:
        s3_client().head_bucket(Bucket=bucket)
    except ClientError:
        s3_client().create_bucket(Bucket=bucket)


def remove_rows(arena: Arena) -> None:
    """What the two have beside seed rows, past every boundary: one of them may be weak."""
    for context in (arena.acme, arena.globex):
        with arena.superuser(context) as superuser:
            superuser.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(context.schema)))
            mine = sql.SQL("WHERE tenant_id = {}").format(context.tenant_id) if context.pool_id else sql.SQL("")
            for table in ("projects_document", "projects_project", "projects_member"):
                superuser.execute(sql.SQL("DELETE FROM {} {}").format(sql.Identifier(table), mine))
            word = sql.SQL("AND" if context.pool_id else "WHERE") + sql.SQL(" id > {}").format(SEEDED)
            superuser.execute(sql.SQL("DELETE FROM projects_tag {} {}").format(mine, word))


def state_of(context: TenantContext) -> str:
    """A hash of everything a tenant has: rows as the verifier sees them, files and cache as their servers hold them."""
    cluster = Cluster.objects.get(name=context.cluster)
    found: list[Any] = []
    with connect_to_cluster(cluster, database=context.database) as connection, connection.transaction():
        pooled = context.pool_id is not None
        names = pool_rows.tables(connection, context.schema) if pooled else space._tables(connection, context.schema)
        run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.VERIFIER)))
        where = sql.SQL("WHERE tenant_id = {}").format(context.tenant_id) if pooled else sql.SQL("")
        for name in names:
            one = sql.SQL("SELECT {}, count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t {}")
            found += run(connection, one.format(sql.Literal(name), sql.Identifier(context.schema, name), where))
    bucket, prefix = own_place(context)
    try:
        listed = s3_client().list_objects_v2(Bucket=bucket, Prefix=prefix)
        found += [(each["Key"], each["ETag"]) for each in listed.get("Contents", ())]
    except s3_client().exceptions.NoSuchBucket:
        found.append("no bucket")
    with Redis.from_url(_cache_url()) as server:
        mine = sorted(server.scan_iter(match=f"{context.key}:*", count=1_000))
        found += [(key, server.get(key)) for key in mine]
    return sha256(repr(found).encode()).hexdigest()


def _cache_url() -> str:
    from django.conf import settings

    return str(settings.CACHE_URL)


@contextmanager
def request(context: TenantContext) -> Iterator[Any]:
    """What a request of a tenant's has: its scope, a transaction, and a cursor in which something was asked already."""
    with tenant_scope(context), transaction.atomic(using=alias_of(context)):
        Tag.objects.exists()
        with connections[alias_of(context)].cursor() as cursor:
            yield cursor


def search(context: TenantContext, term: str) -> list[Any]:
    """The view with the mistake: what is typed becomes SQL. Every row of every statement's answer is shown."""
    with request(context) as cursor:
        cursor.execute(f"SELECT name FROM projects_project WHERE name = '{term}'")
        rows = [*cursor.fetchall()] if cursor.description else []
        while cursor.nextset():
            rows += cursor.fetchall() if cursor.description else [("affected", cursor.rowcount)]
        return rows


def injected(context: TenantContext, text: str) -> list[Any]:
    """Any SQL, by way of that view."""
    return search(context, f"x'; {text} --")
