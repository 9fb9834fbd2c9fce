"""What a rollout did to copies, before anybody approved it."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.rollouts import Rollout
from provisioning.models.runs import Run


class RehearsalState(models.TextChoices):
    """FAILED: it did not come to an end. One in which a copy could not be brought along is FINISHED, and says so."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Rehearsal(models.Model):
    """A draft walked on copies of some of its targets. Copies are named after `id`; see `databases.copies`.

    `plan_digest` is of the plan that was rehearsed. `limits` is `{lock, ms, bytes}`: what nobody approves unread.
    `copies` is one of `rehearsal.CopyReport` each, `findings` one of `rehearsal.Finding` each, as JSON. `estimate_s` is
    the range that the plan shows. `override` is why somebody approved the rollout all the same.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="rehearsals")
    run = models.ForeignKey(
        Run, on_delete=models.SET_NULL, null=True, related_name="+", help_text="Null: a command's, in its own process."
    )
    state = models.CharField(max_length=16, choices=RehearsalState.choices, default=RehearsalState.RUNNING)
    plan_digest = models.CharField(max_length=80)
    limits = models.JSONField()
    clusters = models.JSONField(help_text="Names of the clusters where copies are made.")
    copies = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    findings = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    estimate_s = models.JSONField(null=True)
    error = models.CharField(max_length=500, default="", blank=True)
    override = models.CharField(max_length=500, default="", blank=True)
    overridden_by = models.CharField(max_length=120, default="", blank=True)
    started_by = models.CharField(max_length=120)
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(state="running"), name="rehearsal_one_running_per_rollout"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[str(state) for state in RehearsalState.values]), name="rehearsal_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="running", finished_at=None) | ~Q(state="running") & Q(finished_at__isnull=False),
                name="rehearsal_over_says_when",
            ),
            models.CheckConstraint(
                condition=Q(override="", overridden_by="") | ~Q(override="") & ~Q(overridden_by=""),
                name="rehearsal_override_says_who",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["rollout", "-started_at"], name="rehearsal_latest")]

    def __str__(self) -> str:
        return f"{self.state} rehearsal of {self.rollout_id}"
