"""What a tenant is and where it lives. Nothing here does work in `save()`; states change in `Tenant.to()` alone."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants import slugs
from tenants.context import TenantContext
from tenants.errors import StateConflict, TenureError
from tenants.placement import public_id
from tenants.states import TRANSITIONS, DeleteReason, TenantState, Tier

SLUG = rf"^{slugs.SLUG.pattern}$"


class NotDeletable(TenureError):
    """Rows of tenants are never deleted: a delete that skips teardown leaves schemas, buckets and roles behind."""

    code = "NOT_DELETABLE"
    cure = "Use the verb that ends a tenant's life; it removes what the tenant owns and keeps the evidence."


class KeptQuerySet(models.QuerySet[Any]):
    """A queryset that cannot delete. See NotDeletable."""

    def delete(self) -> tuple[int, dict[str, int]]:
        raise NotDeletable


class Cluster(models.Model):
    """One PostgreSQL server that Tenure may place tenants on. `url` is sealed with the master key; see provisioning."""

    class State(models.TextChoices):
        OPEN = "open"
        DRAINING = "draining"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=48, unique=True)
    region = models.SlugField(max_length=48)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    capacity = models.PositiveIntegerField(help_text="The most tenants it may hold.")
    placed = models.PositiveIntegerField(
        default=0, editable=False, help_text="How many it holds: kept where places are taken and given back."
    )
    max_running = models.PositiveIntegerField(
        default=4, validators=[MinValueValidator(1)], help_text="The most operations that may work on it at once."
    )
    sealed_url = models.BinaryField(help_text="The provisioning role's URL, sealed with the master key.")
    database = models.CharField(max_length=63, help_text="The shared database, which that URL names, too.")
    context_version = models.PositiveIntegerField(
        default=1, editable=False, help_text="Of the key its pools sign with."
    )
    context_secret = models.CharField(
        max_length=16, blank=True, editable=False, help_text="By a digest: which secret that key is made from."
    )
    context_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When that version began to sign; empty: it is the only one."
    )
    public_host = models.CharField(max_length=255, help_text="Host name that applications connect to.")
    public_port = models.PositiveIntegerField(default=5432)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=["open", "draining", "closed"]), name="cluster_state_known"),
            models.CheckConstraint(condition=Q(max_running__gte=1), name="cluster_max_running_positive"),
        ]

    def __str__(self) -> str:
        return self.name


class Pool(models.Model):
    """Shared tables under row security on one cluster, and the bucket beside them. Schemas are called `pool_<number>`.

    Laid out (`ready_at`) when the first tenant is placed in it. `release` is what its tables are on: its tenants' too.
    """

    class State(models.TextChoices):
        OPEN = "open"
        DRAINING = "draining"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="pools")
    schema = models.CharField(max_length=63)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    capacity = models.PositiveIntegerField(default=10_000, help_text="The most tenants it may hold.")
    placed = models.PositiveIntegerField(default=0, editable=False, help_text="How many it holds, kept as a cluster's.")
    release = models.CharField(max_length=48, blank=True, help_text="Name of the release its tables are on.")
    sealed_password = models.BinaryField(help_text="Of the login role its tenants share, sealed with the master key.")
    ready_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cluster", "schema"], name="pool_schema_once"),
            models.CheckConstraint(condition=Q(state__in=["open", "draining", "closed"]), name="pool_state_known"),
        ]

    def __str__(self) -> str:
        return self.schema


class Plan(models.Model):
    """What a customer buys: the tier it may have, and its quotas."""

    class BucketMode(models.TextChoices):
        OWN = "own", "a bucket of its own"
        PREFIX = "prefix", "a prefix of the pool's bucket"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=48, unique=True)
    description = models.CharField(max_length=200, blank=True)
    tier = models.CharField(max_length=16, choices=Tier.choices)
    bucket_mode = models.CharField(max_length=16, choices=BucketMode.choices, default=BucketMode.OWN)
    connection_limit = models.PositiveIntegerField(default=20, help_text="Database connections of the tenant's role.")
    own_role = models.BooleanField(
        default=False,
        help_text="In a pool: a login role of the tenant's own, as a second boundary beside the signed context.",
    )
    storage_quota_bytes = models.PositiveBigIntegerField(default=10 * 1024**3)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(tier__in=[str(tier) for tier in Tier]), name="plan_tier_known"),
            models.CheckConstraint(
                condition=Q(tier="pool", bucket_mode="prefix") | (~Q(tier="pool") & Q(bucket_mode="own")),
                name="plan_prefix_in_pools",
            ),
            models.CheckConstraint(condition=Q(own_role=False) | Q(tier="pool"), name="plan_own_role_in_pools"),
        ]

    def __str__(self) -> str:
        return self.name


class Tenant(models.Model):
    """A customer of the product. `version` rises with every change and is the ETag of the API."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=48, unique=True, validators=[RegexValidator(SLUG)])
    name = models.CharField(max_length=200)
    principal = models.CharField(max_length=80, help_text="Who asked for it: external_ref is unique per principal.")
    external_ref = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001  null is "not set"
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    region = models.SlugField(max_length=48)
    labels = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=TenantState.choices, default=TenantState.PROVISIONING)
    state_since = models.DateTimeField(db_default=Now())
    incarnation = models.UUIDField(default=uuid.uuid4, editable=False)
    audit_chain = models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
    release = models.CharField(max_length=48, blank=True, help_text="Name of the release its rows are on.")
    deletion_protection = models.BooleanField(default=False)
    delete_reason = models.CharField(max_length=16, choices=DeleteReason.choices, blank=True)
    purge_at = models.DateTimeField(
        null=True, blank=True, help_text="Of a deleted tenant: from when on its data may be erased."
    )
    version = models.PositiveBigIntegerField(default=1)
    event_sequence = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now())

    objects = KeptQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["principal", "external_ref"], name="tenant_external_ref_per_principal"),
            models.CheckConstraint(
                condition=Q(state__in=[str(state) for state in TenantState]), name="tenant_state_known"
            ),
            models.CheckConstraint(condition=Q(slug__regex=SLUG), name="tenant_slug_is_dns_label"),
            models.CheckConstraint(
                condition=Q(delete_reason__in=["", *(str(reason) for reason in DeleteReason)]),
                name="tenant_delete_reason_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="deleted") | Q(purge_at__isnull=False), name="tenant_purged_when"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "region"], name="tenant_state_region"),
            models.Index(fields=["created_at", "id"], name="tenant_created"),
            models.Index(fields=["purge_at"], condition=Q(state="deleted"), name="tenant_purge"),
        ]
        permissions: ClassVar = [
            ("operate_tenant", "May onboard, suspend, resume, retry, and act on operations"),
            ("end_tenant", "May delete and undelete tenants"),
            ("hold_tenant", "May place and release legal holds"),
            ("hand_out_credentials", "May hand out and rotate a tenant's credentials"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def public_id(self) -> str:
        return public_id("ten", self.id)

    def to(self, state: TenantState, **more: object) -> None:
        """Move to `state` by compare-and-set, and write `more` columns with it.

        Raises StateConflict if that is not allowed or another was first.
        """
        if state not in TRANSITIONS[TenantState(self.state)]:
            raise StateConflict(f"Tenant {self.slug} is {self.state} and cannot become {state}.", state=self.state)
        changed = Tenant.objects.filter(pk=self.pk, state=self.state).update(
            state=state, state_since=Now(), updated_at=Now(), version=F("version") + 1, **more
        )
        if changed != 1:
            raise StateConflict(f"Tenant {self.slug} changed its state at the same moment. Read it again.")
        self.refresh_from_db()

    def context(self) -> TenantContext:
        """The plain-data form that steps, providers and seams work with. Raises Placement.DoesNotExist if unplaced."""
        # By name: an application's process may read these columns of a placement and its cluster, and no others.
        columns = ("tenant", "tier", "database", "schema", "pool", "cluster__name")
        placement: Placement = self.placements.select_related("cluster").only(*columns).get(active=True)
        return placement.context_of(self)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        raise NotDeletable


class Placement(models.Model):
    """Where one tenant's rows live, or lived: exactly one is active. Former ones stay, for audits and erasure."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="placements")
    tier = models.CharField(max_length=16, choices=Tier.choices)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="placements")
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, null=True, blank=True, related_name="placements")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    active = models.BooleanField(default=True)
    since = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = KeptQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(active=True), name="placement_one_active_per_tenant"
            ),
            models.CheckConstraint(
                condition=Q(active=True, retired_at=None) | Q(active=False, retired_at__isnull=False),
                name="placement_retired_says_when",
            ),
            models.CheckConstraint(
                condition=Q(tier="pool", pool__isnull=False) | (~Q(tier="pool") & Q(pool=None)),
                name="placement_pool_in_pools",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["cluster"], condition=Q(active=True), name="placement_load"),
            models.Index(fields=["pool"], condition=Q(active=True), name="placement_pool_load"),
        ]

    def __str__(self) -> str:
        return f"{self.tier} on {self.cluster_id}"

    def context(self) -> TenantContext:
        """Of its tenant, while this is where that lives."""
        return self.context_of(self.tenant)

    def context_of(self, tenant: Tenant) -> TenantContext:
        return TenantContext(
            tenant_id=tenant.id,
            incarnation=tenant.incarnation,
            slug=tenant.slug,
            tier=Tier(self.tier),
            cluster=self.cluster.name,
            database=self.database,
            schema=self.schema,
            pool_id=self.pool_id,
        )


class Domain(models.Model):
    """A host name that leads to one tenant. Matched exactly, in lower case, without a port."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    domain = models.CharField(max_length=253, unique=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="domains")
    is_primary = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant"], condition=Q(is_primary=True), name="domain_one_primary")
        ]

    def __str__(self) -> str:
        return self.domain


class Event(models.Model):
    """One change of a tenant, an operation or a rollout, written in the transaction that made it.

    What is the whole fleet's belongs to no tenant. `sequence` counts per tenant without gaps; `xid` lets a feed show
    only what is older than the oldest open transaction, since ids are given before commits (PostgreSQL 18,
    "Transaction ID and Snapshot Information").
    """

    id = models.BigAutoField(primary_key=True)
    type = models.CharField(max_length=64)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="events")
    sequence = models.PositiveBigIntegerField(null=True)
    operation = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
    xid = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "sequence"], name="event_sequence_per_tenant"),
            models.CheckConstraint(
                condition=Q(tenant__isnull=True, sequence__isnull=True)
                | Q(tenant__isnull=False, sequence__isnull=False),
                name="event_of_tenant_has_sequence",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.sequence}"


class AuditChain(models.Model):
    """The end of one chain of the audit log. Read-only here: `audit_append` in the database writes it."""

    chain = models.UUIDField(primary_key=True)
    size = models.BigIntegerField()
    head = models.BinaryField()

    class Meta:
        managed = False  # its SQL is in the migration, with the function and triggers that guard it
        db_table = "audit_chain"

    def __str__(self) -> str:
        return f"{self.chain} ({self.size})"


class AuditEntry(models.Model):
    """One link of a chain, read-only. `body` is the exact text that is hashed; `public` is the same for queries."""

    entry = models.UUIDField(primary_key=True)
    chain = models.ForeignKey(AuditChain, on_delete=models.DO_NOTHING, db_column="chain", related_name="entries")
    seq = models.BigIntegerField()
    prev = models.BinaryField()
    body = models.TextField()
    hash = models.BinaryField()
    public = models.JSONField()

    class Meta:
        managed = False
        db_table = "audit_entry"
        ordering: ClassVar = ["chain", "seq"]

    def __str__(self) -> str:
        return f"{self.chain_id} #{self.seq}"
