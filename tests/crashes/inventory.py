"""What there is of a tenant on every server, seen from outside: by a superuser and the store's administrator."""

import psycopg

from controlplane.stack.embedded import Stack
from provisioning.models import Secret
from provisioning.models.keyring import DataKey
from provisioning.providers.s3 import s3_client
from tenants.models import Domain, Tenant
from tenants.placement import bucket_name, tenant_key
from tenants.states import Tier

DOORS = "SELECT 't_' || replace(tenant::text, '-', '') FROM tenure_guard.placement"
TAGS = 4  # rows of projects_tag that each tenant begins with
NAMED_FOR_TENANTS = r"^t_[0-9a-f]{32}$"

Inventory = dict[str, int]


def inventory(stack: Stack, tenant: Tenant) -> Inventory:
    """How many there are of each thing that a tenant owns."""
    key = tenant_key(tenant.pk)
    return {
        "roles": key in names(stack, "postgres", "SELECT rolname FROM pg_roles"),
        "schemas": key in names(stack, "tenure_cluster", "SELECT nspname FROM pg_namespace"),
        "databases": key in names(stack, "postgres", "SELECT datname FROM pg_database"),
        "buckets": bucket_name(tenant.pk) in buckets(),
        "data keys": DataKey.objects.filter(owner_ref=tenant.pk, wrapped__isnull=False).count(),
        "secrets": Secret.objects.filter(tenant=tenant).count(),
        "domains": Domain.objects.filter(tenant=tenant).count(),
        "places": tenant.placements.filter(active=True).count(),
        **in_pool(stack, tenant),
    }


def in_pool(stack: Stack, tenant: Tenant) -> Inventory:
    """The tenant's door, and its rows in one of the tables of the pool that every test's control database knows."""
    url = stack.superuser_url.rsplit("/", 1)[0] + "/tenure_cluster"
    with psycopg.connect(url) as session:
        ((doors, rows),) = session.execute(
            "SELECT (SELECT count(*) FROM tenure_guard.placement WHERE tenant = %(id)s AND open),"
            " (SELECT count(*) FROM pool_1.projects_tag WHERE tenant_id = %(id)s)",
            {"id": tenant.pk},
        ).fetchall()
    return {"doors": doors, "rows in the pool": rows}


def whole(tier: Tier) -> Inventory:
    """Of a tenant that was onboarded: exactly one of everything. A pool's tenant shares role, schema and bucket."""
    pooled = tier == Tier.POOL
    own = dict.fromkeys(("roles", "buckets", "secrets"), 0 if pooled else 1)
    of_tier = {"schemas": tier == Tier.SCHEMA, "databases": tier == Tier.DATABASE}
    shared = {"doors": int(pooled), "rows in the pool": TAGS if pooled else 0}
    return {**dict.fromkeys(NOTHING, 1), **own, **of_tier, **shared}


def number_of_things(tier: Tier) -> int:
    """As `things` counts them: a role, a schema or database, and a bucket; in a pool a door."""
    return 1 if tier == Tier.POOL else 3


NOTHING: Inventory = dict.fromkeys(
    (
        *("roles", "schemas", "databases", "buckets", "data keys", "secrets", "domains", "places"),
        *("doors", "rows in the pool"),
    ),
    0,
)


def things(stack: Stack) -> set[str]:
    """Everything on the servers that is named for a tenant, whoever it belongs to: to find what nobody owns."""
    return {
        *(f"role {name}" for name in names(stack, "postgres", "SELECT rolname FROM pg_roles")),
        *(f"schema {name}" for name in names(stack, "tenure_cluster", "SELECT nspname FROM pg_namespace")),
        *(f"database {name}" for name in names(stack, "postgres", "SELECT datname FROM pg_database")),
        *(f"door {name}" for name in names(stack, "tenure_cluster", DOORS)),
        *(f"bucket {name}" for name in buckets() if not name.startswith("p-")),
    }


def names(stack: Stack, database: str, query: str) -> set[str]:
    """The names a catalog query gives that are of the form `t_<32 hex>`."""
    url = stack.superuser_url.rsplit("/", 1)[0] + f"/{database}"
    with psycopg.connect(url) as session:
        found = session.execute(f"SELECT name FROM ({query}) q (name) WHERE name ~ '{NAMED_FOR_TENANTS}'").fetchall()
    return {str(name) for (name,) in found}


def buckets() -> set[str]:
    return {bucket["Name"] for bucket in s3_client().list_buckets()["Buckets"]}
