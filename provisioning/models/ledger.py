"""Tombstones of erasures, in the keyring database; and how far the control database has heard of them.

A database that is restored from an old backup must not be able to forget what was erased since: so what remembers it
lies outside every database it is about. Nothing in here names a person: see provisioning/erasure/ledger.py.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Tombstone(models.Model):
    """One erasure that has passed the point of no return; or, with `voids`, the word that one never did.

    `refs` are the tenant's id, or the keyed hashes of a person's identifiers; `places` the databases it was in. Only
    the last four fields ever change, and `hash` covers all others and the row before.
    """

    class Scope(models.TextChoices):
        TENANT = "tenant"
        SUBJECT = "subject"

    seq = models.BigIntegerField(primary_key=True)
    prev = models.BinaryField()
    hash = models.BinaryField()
    at = models.DateTimeField()
    request = models.UUIDField()
    scope = models.CharField(max_length=16, choices=Scope.choices)
    tenant_id = models.UUIDField()
    incarnation = models.UUIDField()
    refs = models.JSONField()
    places = models.JSONField()
    voids = models.BigIntegerField(null=True)
    certified = models.BigIntegerField(null=True, unique=True, help_text="A second counter, given once it is proved.")
    certified_at = models.DateTimeField(null=True)
    marked_at = models.DateTimeField(null=True, help_text="Since when every database of it knows that.")
    voided_by = models.BigIntegerField(null=True)

    class Meta:
        db_table = "tombstone"
        ordering: ClassVar = ["seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["request"], condition=Q(voids=None, voided_by=None), name="tombstone_one_per_request"
            ),
            models.CheckConstraint(condition=Q(scope__in=["tenant", "subject"]), name="tombstone_scope_known"),
            models.CheckConstraint(
                condition=Q(certified=None, certified_at=None) | Q(certified__isnull=False, certified_at__isnull=False),
                name="tombstone_certified_says_when",
            ),
            models.CheckConstraint(
                condition=Q(certified=None) | Q(voids=None, voided_by=None), name="tombstone_or_void"
            ),
        ]

    def __str__(self) -> str:
        return f"tombstone {self.seq}"


class LedgerMark(models.Model):
    """How far this very database has heard of the ledger: a restore takes it back, and that is how a restore shows."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    bar = models.BigIntegerField(default=0, help_text="The highest number of an erasure that passed its bar here.")
    certified = models.BigIntegerField(default=0)

    class Meta:
        db_table = "ledger_mark"
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="ledger_mark_one")]

    def __str__(self) -> str:
        return f"ledger mark {self.certified}"
