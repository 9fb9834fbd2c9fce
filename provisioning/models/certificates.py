"""Certificates of erasure as they were signed. A paper is never edited: a final one supersedes, a finding withdraws."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ErasureCertificate(models.Model):
    """`document` is the exact signed text; provisioning/erasure/certificate.py has its form and its rules."""

    class Stage(models.TextChoices):
        LIVE = "live", "nothing is left in running systems"
        FINAL = "final", "the last date of what stays elsewhere has passed"

    class State(models.TextChoices):
        VALID = "valid"
        SUPERSEDED = "superseded"
        REGRESSED = "regressed", "withdrawn: something was found later"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.UUIDField()
    stage = models.CharField(max_length=8, choices=Stage.choices)
    state = models.CharField(max_length=16, choices=State.choices, default=State.VALID)
    document = models.TextField()
    issued_at = models.DateTimeField()
    state_since = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-issued_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request"], condition=Q(state="valid"), name="certificate_one_valid"),
            models.CheckConstraint(condition=Q(stage__in=["live", "final"]), name="certificate_stage_known"),
            models.CheckConstraint(
                condition=Q(state__in=["valid", "superseded", "regressed"]), name="certificate_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stage} certificate {self.id}"
