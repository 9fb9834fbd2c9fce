"""One published version of the tenant application, and where it has been laid out for copying."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Release(models.Model):
    """Recorded once from Django's own migrations, or from a folder of SQL files; replayed everywhere.

    `script` and `finish` are the final shape as replayable text in which `placeholder` stands for the schema's name:
    the tables, and what is quicker to make once the rows are in (keys, indexes, triggers, positions of sequences).
    `seed` is the rows that data migrations made, loaded between the two; `fingerprint` is the hash of the shape.
    `inputs` is the hash of what it was made from, so that publishing the same again need not migrate at all.
    """

    class State(models.TextChoices):
        PUBLISHING = "publishing"
        PUBLISHED = "published"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=48, unique=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PUBLISHING)
    current = models.BooleanField(default=False, help_text="New tenants are born on it.")
    apps = models.JSONField(default=list, help_text="TENANT_APPS, in order; empty where it is made of SQL files.")
    files = models.JSONField(
        default=list,
        help_text="[{name, up, down}]: texts of TENANT_SQL, in order; down may be null. Empty where Django migrates.",
    )
    placeholder = models.CharField(max_length=63)
    inputs = models.CharField(max_length=64, blank=True)
    script = models.TextField(blank=True)
    seed = models.JSONField(
        default=list, help_text="[{table, columns, rows, copy}]: rows is a count, copy is COPY text."
    )
    finish = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    shape = models.JSONField(default=list, help_text="The sorted lines that the fingerprint is the hash of.")
    pool_script = models.TextField(blank=True, help_text="Script and finish as the pool compiler rewrote them.")
    pool_fingerprint = models.CharField(max_length=64, blank=True)
    pool_shape = models.JSONField(default=list, help_text="As `shape`, of a pool.")
    pool_refusals = models.JSONField(
        default=list, help_text="[{statement, reason, instead}]: why it cannot be pooled; empty if it can."
    )
    contracts = models.CharField(
        max_length=48,
        blank=True,
        help_text="Name of the release that made room for what this one takes away; nothing older may still run.",
    )
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["current"], condition=Q(current=True), name="release_one_current"),
            models.CheckConstraint(
                condition=Q(state__in=["publishing", "published", "failed"]), name="release_state_known"
            ),
            models.CheckConstraint(
                condition=Q(current=False) | Q(state="published"), name="release_current_is_published"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RecordedMigration(models.Model):
    """What one migration of the tenant application sent to PostgreSQL, operation by operation, in order."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="migrations")
    position = models.PositiveIntegerField()
    app = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    atomic = models.BooleanField(default=True)
    replaces = models.JSONField(default=list, help_text="[[app, name]] of the migrations that this one squashes.")
    operations = models.JSONField(
        default=list,
        help_text="[{position, operation, description, kind: schema|data|mixed, statements: [sql]}]; "
        "data runs per tenant.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["release", "app", "name"], name="recorded_migration_once"),
            models.UniqueConstraint(fields=["release", "position"], name="recorded_migration_position"),
        ]

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


class ClusterRelease(models.Model):
    """That a release stands ready on a cluster: its template database, made and checked."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="clusters")
    cluster = models.ForeignKey("tenants.Cluster", on_delete=models.CASCADE, related_name="releases")
    template = models.CharField(max_length=63, help_text="The template database of the database tier.")
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["release", "cluster"], name="cluster_release_once")]

    def __str__(self) -> str:
        return f"{self.release_id} on {self.cluster_id}"
