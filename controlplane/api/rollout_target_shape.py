"""One target of a rollout as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.drainage import set_override
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant
from controlplane.api.ids import uuid_of
from controlplane.api.rollout_shape import Classed
from provisioning.databases.releases import TEXTS
from provisioning.models import RolloutTarget, TargetState
from tenants.placement import public_id

TENANT, POOL = "ten", "pol"
ID_SCHEMA = {"type": "string", "pattern": f"^({TENANT}|{POOL})_[0-9a-f]{{32}}$"}


class TargetId(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        set_override(self, "field", ID_SCHEMA)


class TargetErrorShape(Classed):
    """Why its last replay failed, for an operator: the real cause, never a row's value."""

    code = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    hint = serializers.CharField(allow_null=True, help_text="What to do about it.")
    statement = serializers.CharField(allow_null=True)
    migration = serializers.CharField(allow_null=True)
    sqlstate = serializers.CharField(allow_null=True)
    difference = serializers.CharField(allow_null=True, help_text="How it differs from the release it is on.")


class RolloutTargetShape(serializers.Serializer[Any]):
    """A tenant with tables of its own, or a pool with all who live in it."""

    id = TargetId(help_text="The tenant's id, or for a pool `pol_` and its hex.")
    object = Constant("rollout_target")
    name = serializers.CharField(help_text="The tenant's slug, or the pool's name.")
    cluster = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]  # a field of the body, not of the class
        help_text="The release it was on."
    )
    wave = serializers.IntegerField(min_value=0)
    late = serializers.BooleanField(help_text="It joined after the approval.")
    state = serializers.ChoiceField(choices=TargetState.choices)
    attempts = serializers.IntegerField(min_value=0)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    blocked_by = serializers.CharField(allow_null=True, help_text="The id of the operation it waits for.")
    error = TargetErrorShape(allow_null=True)
    reason = serializers.CharField(allow_null=True, help_text="Why it was skipped.")
    duration_s = serializers.FloatField(allow_null=True, help_text="What its last replay took.")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


def readable_targets() -> QuerySet[RolloutTarget]:
    texts = [f"source__{name}" for name in TEXTS]  # megabytes that no answer shows
    found: QuerySet[RolloutTarget] = RolloutTarget.objects.select_related("tenant", "pool", "cluster", "source")
    return found.defer(*texts)


def targets(rows: Sequence[RolloutTarget]) -> list[Json]:
    """The JSON of targets, which come from `readable_targets()`."""
    return [dict(RolloutTargetShape(_values(row)).data) for row in rows]


def target_of(rows: QuerySet[RolloutTarget], text: str) -> RolloutTarget | None:
    """The target with this id, of the rows of one rollout."""
    if (tenant := uuid_of(TENANT, text)) is not None:
        return rows.filter(tenant=tenant).first()
    pool: UUID | None = uuid_of(POOL, text)
    return rows.filter(pool=pool).first() if pool else None


def _values(row: RolloutTarget) -> Json:
    alike = ("wave", "late", "state", "attempts", "started_at", "finished_at")
    return {
        **{name: getattr(row, name) for name in alike},
        "id": public_id(TENANT, row.tenant_id) if row.tenant_id else public_id(POOL, row.pool_id or UUID(int=0)),
        "object": "rollout_target",
        "name": row.tenant.slug if row.tenant else row.pool.schema if row.pool else "",
        "cluster": row.cluster.name,
        "source": row.source.name,
        "next_attempt_at": row.not_before if row.state == TargetState.WAITING else None,
        "blocked_by": public_id("op", row.blocked_by) if row.blocked_by else None,
        "error": {name: row.error.get(name) for name in TargetErrorShape().fields} if row.error else None,
        "reason": row.reason or None,
        "duration_s": row.seconds,
    }
