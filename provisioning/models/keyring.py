"""Wrapped data keys, in a database of their own.

The keyring database (KEYRING_URL) has its own, short backups: a control database that is restored from an old backup
must not bring a destroyed key back.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q


class DataKey(models.Model):
    """One random 256-bit key, wrapped by the master key. Destroying the wrap is what makes its ciphertexts unreadable.

    `owner_ref` is a tenant's id; a finer owner (a person) gets a random reference of its own. Rows are never deleted:
    that a key was destroyed, and when, is evidence.
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        RETIRED = "retired"  # a newer key took its place for writing; what it encrypted still opens
        DISABLED = "disabled"
        DESTROYED = "destroyed"

    key_id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(max_length=48)
    owner_ref = models.UUIDField()
    wrapped = models.BinaryField(null=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    retired_at = models.DateTimeField(null=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "data_key"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner_ref", "purpose"], condition=Q(state="active"), name="data_key_one_active"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "retired", "disabled", "destroyed"]), name="data_key_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="destroyed", wrapped=None, destroyed_at__isnull=False)
                | (~Q(state="destroyed") & Q(wrapped__isnull=False, destroyed_at=None)),
                name="data_key_destroyed_is_gone",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} key {self.key_id}"
