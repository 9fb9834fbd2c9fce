"""/rollouts/{id}/rehearse and /rehearsals: a draft on copies of its targets, before anybody approves it."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.begun import BegunShape, begun
from controlplane.api.bodies import Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, request_id, serves, who
from controlplane.api.fields import Number, Text, Whole
from controlplane.api.idempotency import Answer, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.plan_shape import VerbPlanShape, rehearsed, verb_plan
from controlplane.api.rehearsal_shape import RehearsalShape, rehearsals
from controlplane.api.rollout_request import MS
from controlplane.api.rollout_shape import readable_rollouts
from controlplane.api.rollouts import ROLLOUT
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Rehearsal

LONGEST_HELD_S, LARGEST_TABLE = 86_400, 2**53
MEANING = "Bring copies of its largest and oldest targets along, and report time, locks and rows"


class RehearsalLimitsRequest(Shape):
    """What nobody approves unread. A value that is left out is as usual."""

    lock = Text(required=False, max_length=40, help_text="PostgreSQL's name of the mode. ACCESS EXCLUSIVE.")
    held_s = Number(required=False, min_value=0, max_value=LONGEST_HELD_S, help_text="Held for longer than this. 0.5.")
    table_bytes = Whole(
        required=False, min_value=0, max_value=LARGEST_TABLE, help_text="On a table of more than this. 64 MiB."
    )


@extend_schema_serializer(
    examples=[OpenApiExample("Three copies", value={"copies": 3, "limits": {"held_s": 0.2, "table_bytes": 10_000_000}})]
)
class RehearseRequest(Shape):
    """On how many copies, and what is a finding."""

    copies = Whole(
        required=False, help_text="Of so many of the largest targets; beside them the oldest and one a way. 3."
    )
    limits = RehearsalLimitsRequest(required=False)


class RehearseRollout(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_WRITE,
        name="rehearse_rollout",
        summary="Rehearse a draft on copies",
        query=PlanQuery,
        takes=RehearseRequest,
        keyed="required",
        parameters=(ROLLOUT,),
        answers={
            200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
            202: (BegunShape, "Accepted: the operation that makes the copies, brings them along, and drops them."),
        },
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.OPERATION_IN_PROGRESS),
    )
    def post(self, request: Request, rollout: str) -> HttpResponse | Response:
        """Tenants are only read. What it found is in /rehearsals once the operation is done."""
        key = optional_key(request) if self.plan_only else required_key(request)
        asked = shaped(request, RehearseRequest)
        row = found(readable_rollouts(), "rol", rollout)

        def rehearse() -> Answer:
            run = lifecycle.start_rehearsal(
                row,
                k=asked.get("copies", 3),
                limits=_limits(asked.get("limits", {})),
                actor=who(request),
                key=key or f"validate_only:{row.pk}",
                request_id=request_id(request),
            )
            return begun(run)

        if key is None or self.plan_only:
            return Response(verb_plan(rehearsed(rehearse, "rollout.rehearse", row.public_id, MEANING)))
        return once(request, key=key, do=rehearse)


class RehearsalsOfRollout(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="list_rehearsals",
        summary="List a rollout's rehearsals",
        query=ListQuery,
        parameters=(ROLLOUT,),
        answers={200: (page_of(RehearsalShape, "Rehearsal"), "One page, the latest first.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, rollout: str) -> Response:
        """What counts for an approval is the latest that is finished."""
        row = found(readable_rollouts(), "rol", rollout)
        rows = Rehearsal.objects.filter(rollout=row).annotate(created_at=F("started_at"))
        return Response(page(request, rows, self.asked, rehearsals))


def _limits(asked: dict[str, Any]) -> lifecycle.RehearsalLimits:
    given: dict[str, Any] = {"lock": asked["lock"]} if "lock" in asked else {}
    if "held_s" in asked:
        given["ms"] = round(asked["held_s"] * MS)
    if "table_bytes" in asked:
        given["bytes"] = asked["table_bytes"]
    return lifecycle.RehearsalLimits(**given)
