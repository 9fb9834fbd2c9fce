"""A rehearsal as the API shows it: what each copy took, which locks it held, and what an approval would object to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant, PublicId
from controlplane.api.operation_shape import RequesterShape, names_of, requester
from controlplane.api.rollout_request import MS
from provisioning.models import Rehearsal, RehearsalState
from tenants.placement import public_id
from tenants.states import Tier


class RehearsalLimitsShape(serializers.Serializer[Any]):
    """Over these three a lock is a finding."""

    lock = serializers.CharField(help_text="This mode of PostgreSQL's, or a stronger one.")
    held_s = serializers.FloatField(min_value=0)
    table_bytes = serializers.IntegerField(min_value=0)


class RehearsedTableShape(serializers.Serializer[Any]):
    """One table that was worked on."""

    table = serializers.CharField()
    table_bytes = serializers.IntegerField(help_text="With indexes and TOAST.")
    rows = serializers.IntegerField(help_text="Inserted, updated and deleted.")
    rewritten = serializers.BooleanField()


class RehearsedLockShape(serializers.Serializer[Any]):
    """A lock on a table that was there before, up to the commit. Never too short."""

    table = serializers.CharField()
    lock = serializers.CharField()
    held_s = serializers.FloatField()
    table_bytes = serializers.IntegerField(help_text="Of the table in the real target.")
    migration = serializers.CharField(allow_blank=True)
    statement = serializers.CharField(allow_blank=True, help_text="The first that asks for it; empty: Python's.")


class CopyErrorShape(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    migration = serializers.CharField(allow_blank=True)
    statement = serializers.CharField(allow_blank=True)


class RehearsedCopyShape(serializers.Serializer[Any]):
    """How it went with the copy of one target."""

    target = serializers.CharField(help_text="The tenant's slug, or the pool's name.")
    tier = serializers.ChoiceField(choices=Tier.choices)
    cluster = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]  # a field of the body, not of the class
        help_text="The release it was on."
    )
    tenants = serializers.IntegerField(help_text="Of a pool: whom the copy holds.")
    target_bytes = serializers.IntegerField()
    copied_bytes = serializers.IntegerField()
    copied_s = serializers.FloatField(help_text="What making the copy took.")
    duration_s = serializers.FloatField(help_text="What the replay took.")
    tables = RehearsedTableShape(many=True)
    locks = RehearsedLockShape(many=True)
    error = CopyErrorShape(allow_null=True, help_text="Set where the copy could not be brought along.")


class RehearsalFindingShape(serializers.Serializer[Any]):
    """Why an approval asks for an `override`."""

    code = serializers.ChoiceField(choices=["LOCK_HELD", "COPY_FAILED"])
    target = serializers.CharField()
    message = serializers.CharField()
    table = serializers.CharField(allow_blank=True)
    lock = serializers.CharField(allow_blank=True)
    held_s = serializers.FloatField()
    table_bytes = serializers.IntegerField()
    migration = serializers.CharField(allow_blank=True)
    statement = serializers.CharField(allow_blank=True)


class OverrideShape(serializers.Serializer[Any]):
    """Why somebody approved the rollout all the same."""

    reason = serializers.CharField()
    actor = RequesterShape()


class RehearsalShape(serializers.Serializer[Any]):
    """A draft walked on copies of some of its targets."""

    id = PublicId("reh")
    object = Constant("rehearsal")
    state = serializers.ChoiceField(
        choices=RehearsalState.choices, help_text="`failed`: it came to no end. The latest `finished` one counts."
    )
    operation = serializers.CharField(allow_null=True, help_text="The id of its operation; null: a command's.")
    plan_digest = serializers.CharField(help_text="Of the plan that was rehearsed.")
    limits = RehearsalLimitsShape()
    copies = RehearsedCopyShape(many=True)
    findings = RehearsalFindingShape(many=True)
    estimate_s = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    error = serializers.CharField(allow_null=True, help_text="Why it came to no end.")
    override = OverrideShape(allow_null=True)
    started_by = RequesterShape()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


def rehearsals(rows: Sequence[Rehearsal]) -> list[Json]:
    """The JSON of rehearsals."""
    names = names_of({actor for row in rows for actor in (row.started_by, row.overridden_by) if actor})
    return [dict(RehearsalShape(_values(row, names)).data) for row in rows]


def _values(row: Rehearsal, names: Mapping[str, str]) -> Json:
    alike = ("id", "state", "plan_digest", "estimate_s", "started_at", "finished_at")
    return {
        **{name: getattr(row, name) for name in alike},
        "object": "rehearsal",
        "operation": public_id("op", row.run_id) if row.run_id else None,
        "limits": {"lock": row.limits["lock"], "held_s": row.limits["ms"] / MS, "table_bytes": row.limits["bytes"]},
        "copies": [_copy(each) for each in row.copies],
        "findings": [_measured(each) for each in row.findings],
        "error": row.error or None,
        "override": {"reason": row.override, "actor": requester(row.overridden_by, names)} if row.override else None,
        "started_by": requester(row.started_by, names),
    }


def _copy(copy: Json) -> Json:
    return {
        **copy,
        "target_bytes": copy["bytes"],
        "duration_s": copy["seconds"],
        "tables": [{**each, "table_bytes": each["bytes"]} for each in copy["tables"]],
        "locks": [_measured(each) for each in copy["locks"]],
        "error": copy["error"] or None,
    }


def _measured(each: Json) -> Json:
    return {**each, "held_s": each["held_ms"] / MS, "table_bytes": each["bytes"]}
