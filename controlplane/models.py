"""What the doors themselves keep: the keys of the API."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants.placement import public_id


class Scope(models.TextChoices):
    """What a key may do. There is no wildcard: a key that may everything lists everything."""

    TENANTS_READ = "tenants:read", "read tenants, operations, plans, tiers, clusters and releases"
    TENANTS_WRITE = "tenants:write", "onboard, change, suspend and resume tenants, rotate their passwords"
    TENANTS_DELETE = "tenants:delete", "delete tenants; their data is kept until the purge date"
    HOLDS_WRITE = "holds:write", "place and release legal holds"
    TENANTS_CREDENTIALS = "tenants:credentials", "hand out a tenant's credentials"
    TENANTS_KEYS = "tenants:keys", "hand out a tenant's data keys, which open its encrypted fields"
    TENANTS_TOKENS = "tenants:tokens", "mint tokens that let their bearer in at a tenant's application"
    OPERATIONS_WRITE = "operations:write", "pause, resume, retry, skip, undo and cancel operations"
    ROLLOUTS_READ = "rollouts:read", "read rollouts, their plans and their targets"
    ROLLOUTS_WRITE = "rollouts:write", "propose, pause, resume and cancel rollouts, retry and skip their targets"
    ROLLOUTS_APPROVE = "rollouts:approve", "approve rollouts that somebody else proposed"
    ERASURE_READ = "erasure:read", "read erasure requests, their plans and their certificates"
    ERASURE_REQUEST = (
        "erasure:request",
        "request, propose, extend, cancel and check erasures; not beside erasure:approve",
    )
    ERASURE_APPROVE = "erasure:approve", "approve or reject erasures of others; not beside erasure:request"


BOTH_SIDES = (Scope.ERASURE_REQUEST, Scope.ERASURE_APPROVE)
"""No key holds both: that two people erase would be one key's word otherwise."""


class ApiKey(models.Model):
    """A key of the API. The token is `tnr_<id hex>_<secret>`; only the SHA-256 of its 256 random bits is kept.

    A slow hash is for passwords, which people choose: 256 random bits cannot be guessed however fast the hash is.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    principal = models.CharField(max_length=80, help_text="Who owns it: the person or system that answers for its use.")
    name = models.CharField(max_length=80, help_text="What it is for, for example: billing.")
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope.choices))
    secret_hash = models.BinaryField(max_length=32, editable=False)
    reads_per_minute = models.PositiveIntegerField(default=600, validators=[MinValueValidator(1)])
    writes_per_minute = models.PositiveIntegerField(default=60, validators=[MinValueValidator(1)])
    erasures_per_hour = models.PositiveIntegerField(default=10, validators=[MinValueValidator(1)])
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=[str(scope) for scope in Scope]) & Q(scopes__len__gte=1),
                name="apikey_scopes_known",
            ),
            models.CheckConstraint(
                # A day more than the year that keys.py allows, for clocks that disagree.
                condition=Q(expires_at__lte=F("created_at") + timedelta(days=366)),
                name="apikey_expires_within_a_year",
            ),
            models.CheckConstraint(
                condition=~Q(scopes__contains=[str(scope) for scope in BOTH_SIDES]),
                name="apikey_one_side_of_an_erasure",
            ),
        ]
        permissions: ClassVar = [("manage_apikey", "May make and revoke API keys")]

    def __str__(self) -> str:
        return f"{self.name} of {self.principal}"

    @property
    def public_id(self) -> str:
        return public_id("key", self.id)
