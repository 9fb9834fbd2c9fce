"""How a target on one release becomes one on another: recorded once, replayed everywhere."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from provisioning.models.releases import Release


class ReleasePath(models.Model):
    """What Django sent to PostgreSQL when it took a copy of `source` to `target`, migration by migration, in order.

    A migration is `{app, name, atomic, unapply, replaces, acts}`; `unapply` says that it was walked backwards. Its rows
    in django_migrations are its own and those of what it replaces. An act is
    `{kind, text, position, operation, description}`. Its kind says who runs it:

    - `ddl`: the text, as it stands, in the target's schema. In `pool_migrations` the text is compiled for pools, and
      `unforced` names the tables whose rows of all tenants it looks at.
    - `dml`: the text, as it stands, once for each tenant, as that tenant.
    - `python`: the operation at `position` of the migration, by Django, once for each tenant, as that tenant.

    In every text `target.placeholder` stands for the schema's name. `rows` is what `post_migrate` adds (content types,
    permissions), with the ids that `target`'s own blueprint has.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="paths_from")
    target = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="paths_to")
    migrations = models.JSONField(default=list)
    pool_migrations = models.JSONField(default=list)
    rows = models.JSONField(default=list, help_text="As a release's `seed`: [{table, columns, rows, copy}].")
    refusals = models.JSONField(
        default=list, help_text="[{statement, reason, instead}]: why nobody can walk it; empty if it can be walked."
    )
    pool_refusals = models.JSONField(default=list, help_text="The same for pools alone.")
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "target"], name="releasepath_once"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="releasepath_leads_on"),
        ]

    def __str__(self) -> str:
        return f"{self.source} to {self.target}"
