"""An erasure request as the API shows it. People are references and identifiers are kinds: no answer names anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant, PublicId
from controlplane.api.plan_shape import FindingShape
from provisioning import lifecycle
from provisioning.erasure.verbs import REASONS
from provisioning.models import (
    Basis,
    DeadlinePolicy,
    ErasureApproval,
    ErasureKind,
    ErasurePlan,
    ErasureRequest,
    ErasureState,
    ErasureStore,
    ExtensionReason,
    Judged,
    Recheck,
    RecordHold,
)

QUALITIES = ("exact", "estimate", "unknown")
ACTIONS = ("delete", "blank", "shred", "retain", "expire")
CLOSED_BY = sorted({*REASONS, "duplicate"})


class ErasureSummaryShape(serializers.Serializer[Any]):
    """An erasure request as lists show it."""

    id = PublicId("ers")
    object = Constant("erasure_request")
    scope = serializers.ChoiceField(choices=ErasureKind.choices)
    tenant = PublicId("ten")
    state = serializers.ChoiceField(choices=ErasureState.choices)
    state_since = serializers.DateTimeField()
    version = serializers.IntegerField(min_value=1, help_text="The ETag.")
    basis = serializers.ChoiceField(choices=Basis.choices)
    policy = serializers.ChoiceField(choices=DeadlinePolicy.choices)
    identifier_kinds = serializers.ListField(child=serializers.CharField(), help_text="One a value; never a value.")
    received_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(help_text="The first instant that is too late; extensions are in it.")
    extended_until = serializers.DateTimeField(allow_null=True)
    extension_reason = serializers.ChoiceField(choices=ExtensionReason.choices, allow_null=True)
    grace_s = serializers.IntegerField(min_value=0)
    starts_at = serializers.DateTimeField(allow_null=True, help_text="When the grace ends; null before an approval.")
    attention = serializers.CharField(allow_null=True, help_text="Code of what needs a person.")
    reason = serializers.ChoiceField(choices=CLOSED_BY, allow_null=True, help_text="Why it was closed.")
    requested_by = serializers.UUIDField(help_text="A person's random reference, the same in every request.")
    plan_digest = serializers.CharField(allow_null=True, help_text="Of what was proposed. `approve` names it.")
    merged_into = PublicId("ers", allow_null=True)
    follows = PublicId("ers", allow_null=True, help_text="The request whose hold was released.")
    operation = PublicId("op", allow_null=True, help_text="The latest that worked on it.")
    retained_items = serializers.IntegerField(min_value=0)
    actions = serializers.ListField(
        child=serializers.CharField(), help_text="What may be done now: a POST to /erasure-requests/{id}/… each."
    )
    created_at = serializers.DateTimeField()
    destroy_started_at = serializers.DateTimeField(allow_null=True, help_text="From here on it only goes forward.")
    settled_at = serializers.DateTimeField(allow_null=True, help_text="Of the live certificate.")
    settles_at = serializers.DateTimeField(allow_null=True, help_text="After which the final one comes.")
    finished_at = serializers.DateTimeField(allow_null=True)


class ErasureStoreShape(serializers.Serializer[Any]):
    """How far one store is, in the round that is under way."""

    store = serializers.CharField()
    planned = serializers.IntegerField(min_value=0, allow_null=True, help_text="Counted behind the fence.")
    deleted = serializers.IntegerField(min_value=0)
    absent = serializers.IntegerField(min_value=0, help_text="Gone before its turn came.")
    retained = serializers.IntegerField(min_value=0)
    remaining = serializers.IntegerField(min_value=0, allow_null=True, help_text="Null: nobody looked yet.")
    failed = serializers.ListField(child=serializers.CharField(), help_text="Codes of what could not go.")
    verdict = serializers.ChoiceField(choices=Judged.choices, allow_null=True)
    judged_at = serializers.DateTimeField(allow_null=True)


class RecordHoldShape(serializers.Serializer[Any]):
    """Records that a law keeps although the rest goes."""

    id = serializers.UUIDField()
    store = serializers.CharField()
    locator = serializers.CharField()
    record = serializers.CharField(allow_blank=True, help_text="The key of the one row that is held; empty: all of it.")
    ground = serializers.CharField()
    review_at = serializers.DateTimeField()
    archived = serializers.IntegerField(
        allow_null=True, help_text="Records in its archive, once their tenant is being erased; null: it has none."
    )
    released_at = serializers.DateTimeField(allow_null=True)


class RecheckShape(serializers.Serializer[Any]):
    """A day on which all verifiers look again."""

    why = serializers.CharField()
    due_at = serializers.DateTimeField()
    verdict = serializers.ChoiceField(choices=Judged.choices, allow_null=True)
    dirty = serializers.ListField(child=serializers.CharField(), help_text="Stores that were not clean.")
    done_at = serializers.DateTimeField(allow_null=True)


class ErasureShape(ErasureSummaryShape):
    """One tenant's or one person's data, to be erased by a date."""

    latest_start_at = serializers.DateTimeField(help_text="After this nobody can be sure that it is done in time.")
    at_risk = serializers.BooleanField()
    overdue = serializers.BooleanField()
    proposed_by = serializers.UUIDField(allow_null=True)
    proposed_at = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.UUIDField(allow_null=True)
    approved_at = serializers.DateTimeField(allow_null=True)
    stores = ErasureStoreShape(many=True)
    holds = RecordHoldShape(many=True)
    rechecks = RecheckShape(many=True)


class TallyShape(serializers.Serializer[Any]):
    """How much is in one place."""

    locator = serializers.CharField(help_text="A table, a bucket, a key pattern; never a value in it.")
    n = serializers.IntegerField(min_value=0, allow_null=True, help_text="Null where nobody knows; never zero for it.")
    quality = serializers.ChoiceField(choices=QUALITIES)
    action = serializers.ChoiceField(choices=ACTIONS)
    ground = serializers.CharField(allow_blank=True)
    until = serializers.DateTimeField(allow_null=True)


class WaivedShape(serializers.Serializer[Any]):
    locator = serializers.CharField()
    reason = serializers.CharField()
    owner = serializers.CharField()
    expires = serializers.DateTimeField()


class ResidueShape(serializers.Serializer[Any]):
    what = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)


class PlannedStoreShape(serializers.Serializer[Any]):
    store = serializers.CharField()
    tallies = TallyShape(many=True)
    covered = serializers.IntegerField(min_value=0, help_text="Places of the live catalog that somebody erases.")
    waived = WaivedShape(many=True)
    residue = ResidueShape(many=True, help_text="What stays although all is erased: backups, logs.")


class HeldShape(serializers.Serializer[Any]):
    store = serializers.CharField()
    locator = serializers.CharField()
    ground = serializers.CharField()


class ErasurePlanShape(serializers.Serializer[Any]):
    """What would be erased, counted by those who never delete."""

    object = Constant("erasure_plan")
    frozen = serializers.BooleanField(help_text="Whether somebody has proposed it; else it is the latest count.")
    digest = serializers.CharField(allow_null=True, help_text="Of a frozen plan: `approve` names it.")
    proposed_by = serializers.UUIDField(allow_null=True)
    proposed_at = serializers.DateTimeField(allow_null=True)
    stores = PlannedStoreShape(many=True)
    holds = HeldShape(many=True)
    blockers = FindingShape(many=True, help_text="While there is one, nobody can propose it.")
    catalog = serializers.CharField(help_text="The fingerprint of every place that was found.")


def readable_erasures() -> QuerySet[ErasureRequest]:
    """Without what no answer shows."""
    found: QuerySet[ErasureRequest] = ErasureRequest.objects.select_related("tenant__plan").defer(
        "identifiers", "certificate", "counted"
    )
    return found


def erasures(rows: Sequence[ErasureRequest]) -> list[Json]:
    return [dict(ErasureSummaryShape(_summary(row)).data) for row in rows]


def erasure_json(row: ErasureRequest) -> Json:
    """The JSON of one request, with everything that is known of it."""
    clock, now = lifecycle.clock_of_erasure(row), timezone.now()
    plan = lifecycle.plan_of_erasure(row)
    approval = ErasureApproval.objects.filter(pk=row.approval_id).first() if row.approval_id else None
    open_clock = row.settled_at is None and row.finished_at is None
    values = {
        **_summary(row),
        "latest_start_at": clock.latest_start,
        "at_risk": open_clock and row.destroy_started_at is None and clock.at_risk(now),
        "overdue": open_clock and clock.overdue(now),
        "proposed_by": plan and plan.proposed_by,
        "proposed_at": plan and plan.proposed_at,
        "approved_by": approval and approval.approved_by,
        "approved_at": approval and approval.approved_at,
        "stores": [_store(each) for each in row.stores.filter(round=row.round).order_by("store")],
        "holds": RecordHold.objects.filter(request=row).order_by("placed_at"),
        "rechecks": [_recheck(each) for each in Recheck.objects.filter(request=row).order_by("due_at")],
    }
    return dict(ErasureShape(values).data)


def erasure_plan_json(row: ErasureRequest) -> Json | None:
    """What was proposed, else what was counted last; None while nobody has counted."""
    frozen = lifecycle.plan_of_erasure(row)
    document = frozen.document if frozen is not None else row.counted
    if document is None:
        return None
    values = {
        **{name: document[name] for name in ("stores", "holds", "blockers", "catalog")},
        "object": "erasure_plan",
        "frozen": frozen is not None,
        "digest": frozen and digest_text(frozen),
        "proposed_by": frozen and frozen.proposed_by,
        "proposed_at": frozen and frozen.proposed_at,
    }
    return dict(ErasurePlanShape(values).data)


def digest_text(plan: ErasurePlan) -> str:
    return f"sha256:{bytes(plan.digest).hex()}"


def _summary(row: ErasureRequest) -> Json:
    alike = (
        "id state state_since version basis policy received_at extended_until starts_at requested_by retained_items "
        "created_at destroy_started_at settled_at settles_at finished_at"
    ).split()
    digest = row.plan_digest
    return {
        **{name: getattr(row, name) for name in alike},
        "object": "erasure_request",
        "scope": row.kind,
        "tenant": row.tenant_id,
        "identifier_kinds": row.kinds,
        "due_at": row.extended_until or row.due_at,
        "extension_reason": row.extension_reason or None,
        "grace_s": int(row.grace.total_seconds()),
        "attention": row.attention or None,
        "reason": row.reason or None,
        "plan_digest": f"sha256:{bytes(digest).hex()}" if digest else None,
        "merged_into": row.merged_into_id,
        "follows": row.follows_id,
        "operation": row.run_id,
        "actions": lifecycle.actions_of_erasure(row),
    }


def _store(row: ErasureStore) -> Json:
    alike = ("store", "planned", "deleted", "absent", "retained", "remaining", "judged_at")
    return {
        **{name: getattr(row, name) for name in alike},
        "failed": [each["code"] for each in row.failed],
        "verdict": row.verdict or None,
    }


def _recheck(row: Recheck) -> Json:
    return {
        **{name: getattr(row, name) for name in ("why", "due_at", "dirty", "done_at")},
        "verdict": row.verdict or None,
    }
