"""/drift: which targets are not as their release says; accept that, or make one its release's again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, PolymorphicProxySerializer, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.begun import BegunShape, begun
from controlplane.api.bodies import Json, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.drift_shape import STATES, DriftShape, drift_json
from controlplane.api.endpoint import Endpoint, PlanQuery, request_id, serves, who
from controlplane.api.errors import Problem, invalid
from controlplane.api.fields import Text
from controlplane.api.idempotency import Answer, answered, once, optional_key, required_key
from controlplane.api.ids import uuid_of
from controlplane.api.pagination import SortedListQuery, page_of, sorted_page
from controlplane.api.plan_shape import VerbPlanShape, verb_plan
from controlplane.api.rollout_target_shape import ID_SCHEMA, POOL, TENANT
from controlplane.api.tenant_verbs import ReasonRequest
from controlplane.drift_plans import adopting, repairing
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.rollout.drift import Selection, State, Target, order_of
from tenants.states import Tier

TARGET = OpenApiParameter(
    "target",
    ID_SCHEMA,
    OpenApiParameter.PATH,
    description="The id of a tenant, or of a pool; a tenant in a pool stands for its pool.",
)


ADOPTED = PolymorphicProxySerializer("DriftOrPlan", {"drift": DriftShape, "plan": VerbPlanShape}, "object")


class DriftQuery(SortedListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    tier = serializers.ListField(child=serializers.ChoiceField(choices=Tier.choices), required=False)
    cluster = serializers.ListField(child=Text(max_length=63), required=False)
    slug = serializers.ListField(
        child=Text(max_length=300), required=False, help_text="Of a tenant; in a pool it means the pool."
    )
    state = serializers.ListField(
        child=serializers.ChoiceField(choices=[*STATES]),
        required=False,
        help_text="Known only once a target was looked at: a page looks at its own, and may have fewer left, or none.",
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "The plan that was read",
            value={"plan_digest": "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa"},
        )
    ]
)
class RepairRequest(Shape):
    """Which statements are sent."""

    plan_digest = Text(
        required=False,
        max_length=80,
        help_text="Of the plan you read: 409 when it has changed. Only the plan needs none.",
    )


class Drift(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="list_drift",
        summary="Compare the fleet with its releases",
        query=DriftQuery,
        answers={200: (page_of(DriftShape, "Drift"), "One page of targets, by cluster and name, looked at now.")},
    )
    def get(self, request: Request) -> Response:
        """Looks at the targets of this page, at this moment; a server that does not answer is told as `away`."""
        asked = self.asked
        names, tiers, clusters = (tuple(asked.get(name, ())) for name in ("slug", "tier", "cluster"))
        found = lifecycle.reached_by(Selection(names, tiers, clusters))
        wanted = {STATES[state] for state in asked.get("state", STATES)}

        def looked_at(targets: Sequence[Target]) -> list[Json]:
            return drift_json([each for each in lifecycle.survey_drift(targets) if each.state in wanted])

        return Response(sorted_page(request, found, asked, looked_at, by=order_of))


class DriftOfTarget(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="read_drift",
        summary="Compare one target with its release",
        parameters=(TARGET,),
        answers={200: (DriftShape, "How it stands now.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, target: str) -> Response:
        return Response(drift_json(list(lifecycle.survey_drift([_target(target)])))[0])


class AdoptDrift(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_WRITE,
        name="adopt_drift",
        summary="Accept how a target differs",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TARGET,),
        answers={200: (ADOPTED, "The target, which has no drift any more; with validate_only its lines as a plan.")},
        problems=(Code.NOT_FOUND, Code.NO_DRIFT, Code.PLAN_CHANGED),
    )
    def post(self, request: Request, target: str) -> HttpResponse | Response:
        """In place of what was accepted before. With the plan's digest no other lines are accepted than those read."""
        key, asked = _key(self, request), shaped(request, ReasonRequest)
        if key is not None and (first := answered(request, key=key)) is not None:
            return first
        one = _target(target)
        seen = adopting(one)  # here, since no transaction of ours should wait for another server
        if key is None:
            return Response(verb_plan(seen.plan))

        def adopt() -> Answer:
            seen.plan.confirm(asked.get("plan_digest"))
            lifecycle.adopt_drift(target=one, reason=asked["reason"], actor=who(request), standing=seen.standing)
            adopted = replace(seen.standing, state=State.ADOPTED)
            return Answer(200, drift_json([adopted])[0])

        return once(request, key=key, do=adopt)


class RepairDrift(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_APPROVE,
        name="repair_drift",
        summary="Make a target its release's again",
        query=PlanQuery,
        takes=RepairRequest,
        keyed="required",
        parameters=(TARGET,),
        answers={
            200: (VerbPlanShape, "With validate_only: the statements, what is lost, and what is left to a person."),
            202: (BegunShape, "Accepted: the operation that sends the statements, in one transaction."),
        },
        problems=(
            *(Code.NOT_FOUND, Code.NO_DRIFT, Code.PLAN_CHANGED, Code.OPERATION_IN_PROGRESS),
            Code.DRIFT_NOT_REPAIRABLE,
        ),
    )
    def post(self, request: Request, target: str) -> HttpResponse | Response:
        """Read the plan first: what is carried out is the plan whose digest is sent, or none."""
        key, asked = _key(self, request), shaped(request, RepairRequest)
        if key is not None and (first := answered(request, key=key)) is not None:
            return first
        if key is not None and "plan_digest" not in asked:
            raise invalid("plan_digest", "REQUIRED", "Read the plan with validate_only, and send its digest.")
        seen = repairing(_target(target))  # here, as above
        if key is None:
            return Response(verb_plan(seen.plan))

        def repair() -> Answer:
            seen.plan.confirm(asked["plan_digest"])
            run = lifecycle.start_repair(plan=seen.repair, actor=who(request), key=key, request_id=request_id(request))
            return begun(run)

        return once(request, key=key, do=repair)


def _key(view: Endpoint, request: Request) -> str | None:
    """None: only the plan is asked for."""
    key = optional_key(request) if view.plan_only else required_key(request)
    return None if view.plan_only else key


def _target(text: str) -> Target:
    """Raises Problem NOT_FOUND, or NoSuchTarget."""
    tenant, pool = uuid_of(TENANT, text), uuid_of(POOL, text)
    if tenant is None and pool is None:
        raise Problem(Code.NOT_FOUND, f"There is no target {text[:60]!r}.")
    return lifecycle.target_of(tenant_id=tenant, pool_id=pool)
