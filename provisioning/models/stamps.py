"""What is remembered about shapes: stamps that were found to be right, and differences that somebody accepted."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.releases import Release


class KnownStamp(models.Model):
    """Schemas of this stamp have this fingerprint: seen once, true for ever. See `databases.stamp`.

    By fingerprint rather than by release, since what a release looks like in pools may be compiled anew.
    """

    stamp = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64, db_index=True)
    learned_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.stamp[:12]} is {self.fingerprint[:12]}"


class AdoptedDrift(models.Model):
    """That a target differs from its release in these lines, and may: who accepted it, and why.

    A release that changes none of these lines leaves the adoption as it is; `stamp` and `release` say where the target
    stood when it was last looked at. At most one of a target is open.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, null=True, related_name="adopted_drift")
    pool = models.ForeignKey("tenants.Pool", on_delete=models.PROTECT, null=True, related_name="adopted_drift")
    release = models.CharField(max_length=48)
    lines = models.JSONField(help_text="As `fingerprint.difference` says them.")
    stamp = models.CharField(max_length=64)
    reason = models.TextField()
    actor = models.CharField(max_length=80)
    adopted_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(tenant=None, pool__isnull=False) | Q(tenant__isnull=False, pool=None),
                name="adopteddrift_of_one_target",
            ),
            models.UniqueConstraint(fields=["tenant"], condition=Q(ended_at=None), name="adopteddrift_one_a_tenant"),
            models.UniqueConstraint(fields=["pool"], condition=Q(ended_at=None), name="adopteddrift_one_a_pool"),
        ]
        permissions: ClassVar = [
            ("adopt_drift", "May accept that a target differs from its release"),
            ("repair_drift", "May make a target its release's again"),
        ]

    def __str__(self) -> str:
        return f"{len(self.lines)} lines of {self.tenant or self.pool}"


def expected(release: Release, *, pooled: bool) -> str:
    """The fingerprint that a target of this release has."""
    return release.pool_fingerprint if pooled else release.fingerprint


def known(release: Release, *, pooled: bool) -> frozenset[str]:
    """The stamps that have been found to be this release's shape."""
    found = KnownStamp.objects.filter(fingerprint=expected(release, pooled=pooled))
    return frozenset(found.values_list("stamp", flat=True))


def learn(release: Release, stamp: str, *, pooled: bool) -> None:
    """A schema of this stamp was found to have the release's fingerprint, both read in one unchanged moment."""
    fingerprint = expected(release, pooled=pooled)
    KnownStamp.objects.bulk_create([KnownStamp(stamp=stamp, fingerprint=fingerprint)], ignore_conflicts=True)
