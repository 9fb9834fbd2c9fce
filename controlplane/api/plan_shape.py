"""What a verb would do, as `validate_only` answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.db import transaction
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant
from controlplane.api.operation_shape import NAMES
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity

SEVERITIES = [str(severity) for severity in Severity]


class FindingShape(serializers.Serializer[Any]):
    """One thing that is wrong."""

    code = serializers.CharField()
    severity = serializers.ChoiceField(choices=SEVERITIES)
    subject = serializers.CharField(help_text="The thing: a slug, a role, a bucket.", allow_blank=True)
    message = serializers.CharField()
    hint = serializers.CharField(help_text="What to do about it.", allow_blank=True)


class EstimateShape(serializers.Serializer[Any]):
    """How long the last such operations took, in seconds."""

    p50_s = serializers.FloatField(min_value=0)
    p95_s = serializers.FloatField(min_value=0)
    samples = serializers.IntegerField(min_value=1)


class VerbPlanShape(serializers.Serializer[Any]):
    """What a verb would do, and what stands in its way. Nothing was done."""

    object = Constant("plan")
    verb = serializers.CharField()
    steps = serializers.ListField(child=serializers.CharField())
    creates = serializers.ListField(child=serializers.CharField())
    removes = serializers.ListField(child=serializers.CharField())
    pivot = serializers.CharField(allow_null=True, help_text="The step after which it only goes forward.")
    blockers = FindingShape(many=True, help_text="While there is one, the verb would be refused.")
    estimate = EstimateShape(allow_null=True, help_text="Null while too few have run to say.")
    digest = serializers.CharField(help_text="Send it as `plan_digest` to have this plan or none.")


def rehearsed(do: Callable[[], object], verb: str, subject: str, meaning: str) -> VerbPlan:
    """Every check there is, and then nothing of it."""
    with transaction.atomic():
        do()
        transaction.set_rollback(True)
    return VerbPlan(verb, subject, (meaning,))


def verb_plan(plan: VerbPlan) -> Json:
    return {
        "object": "plan",
        "verb": NAMES.get(plan.verb, plan.verb),
        "steps": plan.steps,
        "creates": plan.creates,
        "removes": plan.removes,
        "pivot": plan.pivot,
        "blockers": [finding(blocker) for blocker in plan.blockers],
        "estimate": asdict(plan.estimate) if plan.estimate else None,
        "digest": plan.digest,
    }


def finding(found: Finding) -> Json:
    return asdict(found)
