"""What an erasure has done: each store of each round, records that a law keeps, and the days of looking again."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.erasure import ErasureRequest


class Judged(models.TextChoices):
    CLEAN = "clean"
    DIRTY = "dirty"
    UNKNOWN = "unknown"


class ErasureStore(models.Model):
    """One store of one round. `planned` was counted behind the fence, by the verifier; the rest says what became of it.

    `passes` counts how often the eraser has come to its end: outside stores are gone through again in phase 6.
    `found` is the sealed enumeration, `sentinel` whether the verifier saw it before anything went. `failed` is
    findings. `verdict`, `remaining` and `judged` are the verifier's last word.
    """

    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="stores", db_index=False)
    round = models.PositiveSmallIntegerField()
    store = models.CharField(max_length=48)
    planned = models.PositiveBigIntegerField(null=True)
    deleted = models.PositiveBigIntegerField(default=0)
    absent = models.PositiveBigIntegerField(default=0)
    late = models.PositiveBigIntegerField(default=0, help_text="Deleted in later passes: written behind the first.")
    retained = models.PositiveBigIntegerField(default=0)
    remaining = models.PositiveBigIntegerField(null=True)
    failed = models.JSONField(default=list)
    found = models.BinaryField(null=True)
    sentinel = models.BooleanField(null=True, help_text="Null: none is planted in such a store.")
    cursor = models.TextField(null=True)  # noqa: DJ001  null: at the beginning, or at the end
    passes = models.PositiveSmallIntegerField(default=0)
    verdict = models.CharField(max_length=16, choices=Judged.choices, default="", blank=True)
    judged = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    judged_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "round", "store"], name="erasurestore_once_a_round"),
            models.CheckConstraint(
                condition=Q(verdict="", judged_at=None) | Q(verdict__in=Judged.values) & Q(judged_at__isnull=False),
                name="erasurestore_verdict_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}, round {self.round}"


class RecordHold(models.Model):
    """A set of records that a law keeps although its erasure is asked for. Released: a follow-up request opens.

    `record` is the key of one row, a number or a UUID; empty: all of the place.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="holds", db_index=False)
    store = models.CharField(max_length=48)
    locator = models.CharField(max_length=200, help_text="As the verifier names the place: a table, a bucket.")
    record = models.CharField(max_length=40, default="", blank=True)
    ground = models.CharField(max_length=200)
    review_at = models.DateTimeField()
    placed_by = models.UUIDField()
    placed_at = models.DateTimeField(db_default=Now(), editable=False)
    released_by = models.UUIDField(null=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["request", "store", "locator", "record"], condition=Q(released_at=None), name="recordhold_once"
            ),
            models.CheckConstraint(condition=~Q(ground=""), name="recordhold_says_why"),
            models.CheckConstraint(
                condition=Q(released_at=None, released_by=None)
                | Q(released_at__isnull=False, released_by__isnull=False),
                name="recordhold_released_by_whom",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}: {self.place}"

    @property
    def place(self) -> str:
        """What is held, as lists and certificates name it."""
        return f"{self.locator}#{self.record}" if self.record else self.locator

    @property
    def archived(self) -> int | None:
        """How many records its archive has; None: it has none, or one that is being filled."""
        full = HoldArchive.objects.filter(hold=self.pk, filled_at__isnull=False)
        return full.values_list("records", flat=True).first()


class HoldArchive(models.Model):
    """Where the records of one hold are once their tenant is erased: lines of JSON, sealed under a key of its own.

    The key's `owner_ref` is this id. An archive that was given up half-way is thrown away with its key, and the next
    one has another id and another key. `records`: how many lines, once it is full.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    hold = models.OneToOneField(RecordHold, on_delete=models.PROTECT, related_name="archive")
    records = models.PositiveBigIntegerField(default=0)
    begun_at = models.DateTimeField(db_default=Now(), editable=False)
    filled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.id)


class ArchivedRecords(models.Model):
    """One part of an archive. `sealed`: 12 bytes of nonce and AES-256-GCM over lines that end with a line feed each."""

    archive = models.ForeignKey(HoldArchive, on_delete=models.PROTECT, related_name="parts", db_index=False)
    part = models.PositiveIntegerField()
    records = models.PositiveIntegerField()
    sealed = models.BinaryField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["archive", "part"], name="archivedrecords_once")]

    def __str__(self) -> str:
        return f"part {self.part} of {self.archive_id}"


class Recheck(models.Model):
    """A day on which all verifiers look again. `verdict` is the worst of them."""

    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="rechecks", db_index=False)
    due_at = models.DateTimeField()
    why = models.CharField(max_length=24, help_text="`day 1`, `day 7`, `day 30`, `residue`, `asked`.")
    verdict = models.CharField(max_length=16, choices=Judged.choices, default="", blank=True)
    dirty = models.JSONField(default=list, help_text="Names of the stores that were not clean.")
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "due_at"], name="recheck_once"),
            models.CheckConstraint(
                condition=Q(verdict="", done_at=None) | Q(verdict__in=Judged.values) & Q(done_at__isnull=False),
                name="recheck_done_says_what",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], condition=Q(done_at=None), name="recheck_due")]

    def __str__(self) -> str:
        return f"{self.why} of {self.request_id}"
