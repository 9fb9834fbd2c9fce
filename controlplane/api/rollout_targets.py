"""/rollouts/{id}/targets: who is to be taken along, how far each is, and to leave one out."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.bodies import shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, serves, who
from controlplane.api.errors import Problem
from controlplane.api.fields import QueryFlag
from controlplane.api.idempotency import Answer, once, optional_key
from controlplane.api.ids import found
from controlplane.api.pagination import NumberedListQuery, numbered_page, page_of
from controlplane.api.plan_shape import VerbPlanShape, rehearsed, verb_plan
from controlplane.api.rollout_shape import readable_rollouts
from controlplane.api.rollout_target_shape import ID_SCHEMA, RolloutTargetShape, readable_targets, target_of, targets
from controlplane.api.rollout_verbs import RolloutReasonRequest
from controlplane.api.rollouts import ROLLOUT
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import TargetState

TARGET = OpenApiParameter(
    "target", ID_SCHEMA, OpenApiParameter.PATH, description="The id of the target, as the list has it."
)
HIGHEST_WAVE = 32_767
MEANING = "Leave one waiting or failed target on the release it is on"


class TargetQuery(NumberedListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    state = serializers.ListField(child=serializers.ChoiceField(choices=TargetState.choices), required=False)
    wave = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=HIGHEST_WAVE),
        required=False,
        help_text="0: the canaries.",
    )
    late = QueryFlag(required=False, help_text="Whether it joined after the approval.")


class TargetsOfRollout(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="list_rollout_targets",
        summary="List a rollout's targets",
        query=TargetQuery,
        parameters=(ROLLOUT,),
        answers={200: (page_of(RolloutTargetShape, "RolloutTarget"), "One page, in the order of their turns.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, rollout: str) -> Response:
        """Empty before the approval, which freezes them. Tenants that are left out are in the plan, with the cause."""
        row = found(readable_rollouts(), "rol", rollout)
        asked = {f"{name}__in": self.asked[name] for name in ("state", "wave") if name in self.asked}
        late = {"late": self.asked["late"]} if "late" in self.asked else {}
        rows = readable_targets().filter(rollout=row, **asked, **late)
        return Response(numbered_page(request, rows, self.asked, targets, by="position"))


class SkipTarget(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_WRITE,
        name="skip_rollout_target",
        summary=MEANING,
        query=PlanQuery,
        takes=RolloutReasonRequest,
        keyed="accepted",
        parameters=(ROLLOUT, TARGET),
        answers={
            200: (
                PolymorphicProxySerializer(
                    "TargetOrPlan", {"rollout_target": RolloutTargetShape, "plan": VerbPlanShape}, "object"
                ),
                "The target as it is now; with validate_only the plan, and nothing was done.",
            )
        },
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, rollout: str, target: str) -> HttpResponse | Response:
        """It costs the budget nothing any more, and the rollout can succeed without it."""
        key, asked = optional_key(request), shaped(request, RolloutReasonRequest)
        row = found(readable_rollouts(), "rol", rollout)
        one = target_of(readable_targets().filter(rollout=row), target)
        if one is None:
            raise Problem(Code.NOT_FOUND, f"The rollout has no target {target[:60]!r}.")

        def skip() -> Answer:
            skipped = lifecycle.skip_target(one, reason=asked["reason"], actor=who(request))
            return Answer(200, targets([readable_targets().get(pk=skipped.pk)])[0], run=row.run)

        if self.plan_only:
            return Response(verb_plan(rehearsed(skip, "rollout.skip_target", target, MEANING)))
        return once(request, key=key, do=skip)
