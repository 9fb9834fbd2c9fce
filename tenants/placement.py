"""Names derived from a tenant's id: never from what a person typed, so no quote can reach a server."""

from uuid import UUID

SENTINEL = "tenure-sentinel"
"""The key, below a tenant's place in the object store, of what Tenure plants there: whoever looks after an erasure has
seen it before. No file of the tenant's has this name, and nothing that is listed for the tenant names it."""


def tenant_key(tenant_id: UUID) -> str:
    """`t_<32 hex>`: the schema, database and login role of a tenant, and the first part of its cache keys."""
    return f"t_{tenant_id.hex}"


def cache_namespace(tenant_id: UUID, incarnation: UUID) -> str:
    """`t_<32 hex>:<32 hex>:`: what a tenant's cache keys begin with. Of fixed length, so none begins another's."""
    return f"{tenant_key(tenant_id)}:{incarnation.hex}:"


def cache_sentinel(tenant_id: UUID) -> str:
    """`t_<32 hex>:sentinel`: of no life, and nothing that a cache of the tenant's can name. See SENTINEL."""
    return f"{tenant_key(tenant_id)}:sentinel"


def bucket_name(tenant_id: UUID) -> str:
    """`t-<32 hex>`: Amazon S3, "Bucket naming rules" forbids underscores."""
    return f"t-{tenant_id.hex}"


def pool_role(pool_id: UUID) -> str:
    """`p_<32 hex>`: the login role that the tenants of a pool share."""
    return f"p_{pool_id.hex}"


def pool_group(pool_id: UUID) -> str:
    """`g_<32 hex>`: holds the grants on a pool's tables. Nobody logs in as it; login roles of the pool are members."""
    return f"g_{pool_id.hex}"


def pool_bucket(pool_id: UUID) -> str:
    """`p-<32 hex>`: the bucket of a pool, in which each of its tenants has a prefix."""
    return f"p-{pool_id.hex}"


def public_id(prefix: str, value: UUID) -> str:
    """The id as people and APIs see it: `ten_<32 hex>`. The hex is the one in every resource name."""
    return f"{prefix}_{value.hex}"
