"""What a tenant owns, one row a thing, and the interface of whatever makes, checks, counts, erases and removes it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from uuid import UUID

from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now

from tenants.context import TenantContext
from tenants.errors import StateConflict
from tenants.findings import Finding
from tenants.isolation.crypto import seal, unseal

Handle = Mapping[str, Any]
"""What a provider needs to find its thing again: derived names, never a secret. Saved before anything is made."""


class ResourceKind(models.TextChoices):
    """In the order they are made; removed in the reverse order."""

    DATA_KEY = "data_key", "data key"
    DATABASE = "database", "schema or database"
    ROLE = "role", "database role"
    BUCKET = "bucket", "bucket"
    STORAGE_CREDENTIALS = "storage_credentials", "storage credentials"
    CACHE = "cache", "cache namespace"
    DOMAIN = "domain", "domain"


@dataclass(frozen=True, slots=True)
class Claim:
    """On whose behalf a provider works: the run, its fence, and a token that is the same for every try of one step."""

    run_id: UUID
    fence: int
    token: str


class Provider(Protocol):
    """One kind of thing a tenant owns. Every method may be called again after a crash at any point.

    Observe, create under a derived name, observe. Raises Transient or Permanent, translated once at the vendor's edge;
    silence never counts as "deleted".
    """

    kind: ResourceKind

    def plan(self, tenant: TenantContext) -> Handle:
        """Names and sizes, purely computed."""

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Make the thing, or agree with the one that is there."""

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """What is wrong with it, observed now; nothing when it is as planned."""

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        """How many items of the tenant's are in it (rows, objects, keys); 0 when it does not exist."""

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Delete at most `limit` items; how many went. The container stays."""

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Remove the thing. Only for tenants whose onboarding never finished; success when it is already gone."""


class Shuttable(Provider, Protocol):
    """A kind that lets somebody in from outside: shut while its tenant is suspended or deleted. Nothing in it is lost.

    Every method may be called again after a crash at any point, and while the thing is as it should become.
    """

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Nobody comes in any more, with whatever was handed out before; who is inside is out GRACE later."""

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """What was handed out before, and has not run out, lets in again."""

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """What would still let somebody in, observed now; nothing when it is shut."""


class ResourceQuerySet(models.QuerySet["Resource"]):
    def of(self, tenant_id: UUID, kind: ResourceKind) -> Resource:
        return self.get(tenant_id=tenant_id, kind=kind)

    def plan(self, tenant_id: UUID, handles: Mapping[ResourceKind, Handle]) -> None:
        """One planned row a kind, in one statement; rows of an earlier attempt begin anew."""
        kinds, texts = [str(kind) for kind in handles], [json.dumps(dict(handle)) for handle in handles.values()]
        with connection.cursor() as cursor:
            cursor.execute(PLAN, (tenant_id, kinds, texts))

    def shut(self, tenant_id: UUID, kind: ResourceKind) -> None:
        """Write that one is to be shut. The time of the first call stays."""
        self.filter(tenant_id=tenant_id, kind=kind, shut_at=None).update(shut_at=Now(), updated_at=Now())

    def open(self, tenant_id: UUID, kind: ResourceKind) -> None:
        """Write that one is to be open."""
        self.filter(tenant_id=tenant_id, kind=kind).update(shut_at=None, updated_at=Now())

    def keep(self, tenant_id: UUID, findings: Mapping[ResourceKind, list[dict[str, str]]]) -> None:
        """Write what a look at each has found, with the time, in one statement."""
        kinds, texts = [str(kind) for kind in findings], [json.dumps(found) for found in findings.values()]
        with connection.cursor() as cursor:
            cursor.execute(KEEP, (kinds, texts, tenant_id))


# Every onboarding writes these: as statements of the ORM they were a tenth of the work of its worker.
PLAN = """
INSERT INTO provisioning_resource (id, tenant_id, kind, handle, state, findings, updated_at)
SELECT gen_random_uuid(), %s, kind, handle::jsonb, 'planned', '[]', statement_timestamp()
FROM unnest(%s::text[], %s::text[]) AS planned (kind, handle)
ON CONFLICT (tenant_id, kind) DO UPDATE SET
    handle = excluded.handle, state = 'planned', findings = '[]', verified_at = NULL, updated_at = excluded.updated_at
"""
KEEP = """
UPDATE provisioning_resource AS r SET findings = seen.findings::jsonb, verified_at = statement_timestamp()
FROM unnest(%s::text[], %s::text[]) AS seen (kind, findings) WHERE r.kind = seen.kind AND r.tenant_id = %s
"""


class Resource(models.Model):
    """One thing a tenant owns, planned (name and all) before it is made."""

    class State(models.TextChoices):
        PLANNED = "planned"
        READY = "ready"
        REMOVED = "removed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="resources")
    kind = models.CharField(max_length=24, choices=ResourceKind.choices)
    handle = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PLANNED)
    shut_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when nobody is let in. Written before it is done, and before it is undone.",
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    findings = models.JSONField(default=list, blank=True, help_text="What the last verification found.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now())

    objects = ResourceQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "kind"], name="resource_one_of_a_kind"),
            models.CheckConstraint(condition=Q(state__in=["planned", "ready", "removed"]), name="resource_state_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.tenant_id}"


class SecretQuerySet(models.QuerySet["Secret"]):
    def once(self, tenant_id: UUID, kind: ResourceKind, *, make: Callable[[], str]) -> Secret:
        """The secret that is there, else one made now. Of two callers at the same moment both get the first one's."""
        found = self.filter(tenant_id=tenant_id, kind=kind).first()
        if found is None:
            sealed = Secret.sealed_form(make(), tenant_id=tenant_id, kind=kind)
            self.bulk_create([Secret(tenant_id=tenant_id, kind=kind, sealed=sealed)], ignore_conflicts=True)
            found = self.get(tenant_id=tenant_id, kind=kind)
        return found


class Secret(models.Model):
    """A secret at rest, sealed with the master key: the login role's password. One version per tenant and kind.

    What `open` returns goes to a server or to the caller who may have it, never into a row, a log or an error.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="secrets")
    kind = models.CharField(max_length=24, choices=ResourceKind.choices)
    sealed = models.BinaryField()
    version = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(db_default=Now())

    objects = SecretQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "kind"], name="secret_one_per_tenant_and_kind")
        ]

    def __str__(self) -> str:
        return f"secret of {self.kind}"

    def open(self) -> str:
        """The secret itself. Raises a tenants.isolation.crypto.SealError that says the cure."""
        return unseal(bytes(self.sealed), purpose=f"secret.{self.kind}", owner=str(self.tenant_id)).decode()

    def replace(self, value: str) -> Secret:
        """Put a new version in place of this one by compare-and-set. Raises StateConflict if somebody was first."""
        changed = Secret.objects.filter(pk=self.pk, version=self.version).update(
            sealed=self.sealed_form(value, tenant_id=self.tenant_id, kind=ResourceKind(self.kind)),
            version=self.version + 1,
            rotated_at=Now(),
        )
        if changed != 1:
            raise StateConflict(f"The {self} was rotated at the same moment.", cure="Read it again.")
        return Secret.objects.get(pk=self.pk)

    @staticmethod
    def sealed_form(value: str, *, tenant_id: UUID, kind: ResourceKind) -> bytes:
        return seal(value.encode(), purpose=f"secret.{kind}", owner=str(tenant_id))
