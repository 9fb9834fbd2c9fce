"""Keys that sign tenants' tokens, and keys that sign papers.

# Note [A signing key's times are its state]
A key signs from `signs_from` on, until the next one does, and its public half is published from its first moment until
the last token it signed has expired. So nothing has to be switched over at the right time by a job that may be late:
minting and publishing look at the clock. A new key is published well before it signs, since verifiers keep the set for
some minutes and ask for it again at most once a minute, however many tokens with unknown keys somebody sends them.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class SigningKey(models.Model):
    """One P-256 key pair. `public` is the JWK that is published, `sealed` the private half under the master key."""

    kid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    public = models.JSONField()
    sealed = models.BinaryField()
    signs_from = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, help_text="From then on it neither signs nor is published.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.kid} from {self.signs_from:%Y-%m-%d %H:%M}"


class EvidenceKey(models.Model):
    """One Ed25519 key pair that signs papers: checkpoints of the audit log, or certificates of erasure.

    `kid` is the beginning of the public half's SHA-256, so that whoever holds that half knows its papers. Keys are
    never deleted, or what they signed could not be verified any more; a retired one signs nothing new.
    """

    class Use(models.TextChoices):
        CHECKPOINT = "checkpoint"
        CERTIFICATE = "certificate"

    kid = models.CharField(primary_key=True, max_length=16, editable=False)
    use = models.CharField(max_length=16, choices=Use.choices)
    public = models.BinaryField()
    sealed = models.BinaryField()
    retired_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["use"], condition=Q(retired_at=None), name="evidence_key_one_signs"),
            models.CheckConstraint(condition=Q(use__in=["checkpoint", "certificate"]), name="evidence_key_use_known"),
        ]

    def __str__(self) -> str:
        return f"{self.use} key {self.kid}"
