"""/rollouts/{id}/…: approve a plan, pause, resume, retry what failed, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema_serializer
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, request_id, serves, who
from controlplane.api.fields import Text
from controlplane.api.idempotency import Answer, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, IF_MATCH
from controlplane.api.plan_shape import VerbPlanShape, rehearsed, verb_plan
from controlplane.api.rollout_plan_shape import RolloutPlanShape, rollout_plan
from controlplane.api.rollout_shape import RolloutShape, readable_rollouts
from controlplane.api.rollouts import ROLLOUT, rollout_answer
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Rollout

DIGEST = "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa"


@extend_schema_serializer(examples=[OpenApiExample("The plan that was read", value={"plan_digest": DIGEST})])
class ApprovalRequest(Shape):
    """Which plan is approved."""

    plan_digest = Text(max_length=80, help_text="Of the plan you read: 409 when it has changed.")
    override = Text(
        required=False,
        max_length=500,
        help_text="Why what a rehearsal found does not matter. Without it such an approval is refused.",
    )


@extend_schema_serializer(examples=[OpenApiExample("A reason", value={"reason": "The duplicates are gone."})])
class RolloutReasonRequest(Shape):
    """Why."""

    reason = Text(max_length=500, help_text="Why; it is kept with the rollout.")


@extend_schema_serializer(examples=[OpenApiExample("A reason", value={"reason": "The duplicates are gone."})])
class RolloutMayReasonRequest(Shape):
    """Why, if there is something to say."""

    reason = Text(
        required=False,
        max_length=500,
        allow_blank=True,
        help_text="Why. Going on after a breach of the budget needs it.",
    )


class ApproveRollout(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_APPROVE,
        name="approve_rollout",
        summary="Approve a rollout",
        query=PlanQuery,
        takes=ApprovalRequest,
        keyed="required",
        parameters=(ROLLOUT, IF_MATCH, ETAG),
        answers={
            200: (
                PolymorphicProxySerializer(
                    "ApprovedOrPlan", {"rollout": RolloutShape, "rollout_plan": RolloutPlanShape}, "object"
                ),
                "The rollout, which runs; with validate_only its plan as it would be now, and nothing was done.",
            )
        },
        problems=(
            Code.NOT_FOUND,
            Code.SAME_PERSON,
            Code.STATE_CONFLICT,
            Code.PLAN_CHANGED,
            Code.REHEARSAL_OBJECTS,
            Code.OPERATION_IN_PROGRESS,
            Code.OLDER_RELEASE_RUNS,
            Code.ROLLOUT_REFUSED,
            Code.ETAG_MISMATCH,
        ),
    )
    def post(self, request: Request, rollout: str) -> HttpResponse | Response:
        """Freezes the targets of exactly this plan, and begins. Whoever proposed it cannot approve it."""
        key = optional_key(request) if self.plan_only else required_key(request)
        asked = shaped(request, ApprovalRequest)
        row = found(readable_rollouts(), "rol", rollout)
        if key is None or self.plan_only:
            etags.expected_version(request, row.version)
            return Response(rollout_plan(lifecycle.plan_approval(row).row()))

        def approve() -> Answer:
            held = _held(request, row)
            approved = lifecycle.approve_rollout(
                held,
                digest=asked["plan_digest"],
                override=asked.get("override", ""),
                actor=who(request),
                request_id=request_id(request),
            )
            return rollout_answer(approved)

        return once(request, key=key, do=approve)


def steering(name: str, act: Callable[..., Any], meaning: str, takes: type[Shape]) -> type[Endpoint]:
    """The endpoint of one verb. `act` takes the locked row, the body's fields and `by`, the request."""

    class Steering(Endpoint):
        @serves(
            scope=Scope.ROLLOUTS_WRITE,
            name=f"{name}_rollout",
            summary=meaning,
            query=PlanQuery,
            takes=takes,
            keyed="accepted",
            parameters=(ROLLOUT, IF_MATCH, ETAG),
            answers={200: (STEERED, "The rollout as it is now; with validate_only the plan, and nothing was done.")},
            problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.OPERATION_IN_PROGRESS, Code.ETAG_MISMATCH),
        )
        def post(self, request: Request, rollout: str) -> HttpResponse | Response:
            key, asked = optional_key(request), shaped(request, takes)
            row = found(readable_rollouts(), "rol", rollout)

            def steer() -> Answer:
                return rollout_answer(act(_held(request, row), by=request, **asked))

            if self.plan_only:
                return Response(verb_plan(rehearsed(steer, f"rollout.{name}", row.public_id, meaning)))
            return once(request, key=key, do=steer)

    return Steering


def _pause(held: Rollout, *, by: Request, reason: str = "") -> Rollout:
    return lifecycle.pause_rollout(held, actor=who(by), reason=reason)


def _resume(held: Rollout, *, by: Request, reason: str = "") -> Rollout:
    return lifecycle.resume_rollout(held, actor=who(by), reason=reason, request_id=request_id(by))


def _retry_failed(held: Rollout, *, by: Request, reason: str = "") -> Rollout:
    return lifecycle.retry_failed(held, actor=who(by), reason=reason, request_id=request_id(by))


def _cancel(held: Rollout, *, by: Request, reason: str) -> Rollout:
    return lifecycle.cancel_rollout(held, actor=who(by), reason=reason)


STEERED = PolymorphicProxySerializer("RolloutOrPlan", {"rollout": RolloutShape, "plan": VerbPlanShape}, "object")
VERBS = {
    "pause": steering("pause", _pause, "Take no more targets; those in work are finished", RolloutMayReasonRequest),
    "resume": steering("resume", _resume, "Go on after a pause", RolloutMayReasonRequest),
    "retry-failed": steering("retry_failed", _retry_failed, "Try the failed targets again", RolloutMayReasonRequest),
    "cancel": steering("cancel", _cancel, "Begin nothing more; who has arrived stays there", RolloutReasonRequest),
}


def _held(request: Request, row: Rollout) -> Rollout:
    """The row, locked: what If-Match names must stay until the commit."""
    held = readable_rollouts().select_for_update(no_key=True, of=("self",)).get(pk=row.pk)
    etags.expected_version(request, held.version)
    return held
