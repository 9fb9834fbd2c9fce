"""How one target stands beside its release, as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant
from controlplane.api.operation_shape import RequesterShape, names_of, requester
from controlplane.api.rollout_target_shape import POOL, TENANT, TargetId
from provisioning.models import AdoptedDrift
from provisioning.rollout.drift import Standing, State, Target
from tenants.placement import public_id
from tenants.states import Tier

STATES = {state.replace(" ", "_"): state for state in State}


class AdoptedShape(serializers.Serializer[Any]):
    """What somebody accepted of a target, until it is repaired or accepted anew."""

    reason = serializers.CharField()
    actor = RequesterShape()
    at = serializers.DateTimeField()
    lines = serializers.ListField(child=serializers.CharField(), help_text="With any other line it is drift again.")


class DriftShape(serializers.Serializer[Any]):
    """A tenant with tables of its own, or a pool with all who live in it, as it was found when you asked."""

    id = TargetId(help_text="The tenant's id, or for a pool `pol_` and its hex.")
    object = Constant("drift")
    name = serializers.CharField(help_text="The tenant's slug, or the pool's cluster and schema.")
    tier = serializers.ChoiceField(choices=Tier.choices)
    cluster = serializers.CharField()
    release = serializers.CharField(help_text="The one it should be as.")
    state = serializers.ChoiceField(
        choices=[*STATES], help_text="`adopted`: it differs in the very lines that were accepted. `away`: see `error`."
    )
    lines = serializers.ListField(child=serializers.CharField(), help_text="In what it differs; a sentence each.")
    adopted = AdoptedShape(allow_null=True)
    error = serializers.CharField(allow_null=True, help_text="Why it could not be looked at.")


def drift_json(standings: Sequence[Standing]) -> list[Json]:
    """The JSON of targets as they were found."""
    owners = [each.target.pk for each in standings]
    rows = [
        *AdoptedDrift.objects.filter(ended_at=None, tenant__in=owners),
        *AdoptedDrift.objects.filter(ended_at=None, pool__in=owners),
    ]
    names = names_of({row.actor for row in rows})
    adopted = {row.tenant_id or row.pool_id: row for row in rows}
    return [dict(DriftShape(_values(each, adopted, names)).data) for each in standings]


def id_of(target: Target) -> str:
    return public_id(POOL if target.pooled else TENANT, target.pk)


def _values(standing: Standing, adopted: Mapping[UUID | None, AdoptedDrift], names: Mapping[str, str]) -> Json:
    target, row = standing.target, adopted.get(standing.target.pk)
    return {
        "id": id_of(target),
        "object": "drift",
        "name": target.name,
        "tier": target.tier,
        "cluster": target.cluster.name,
        "release": target.release,
        "state": standing.state.replace(" ", "_"),
        "lines": standing.lines,
        "adopted": _adopted(row, names) if row else None,
        "error": standing.said or None,
    }


def _adopted(row: AdoptedDrift, names: Mapping[str, str]) -> Json:
    return {
        "reason": row.reason,
        "actor": requester(row.actor, names),
        "at": row.adopted_at,
        "lines": row.lines,
    }
