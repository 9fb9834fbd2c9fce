"""/rollouts: propose, list, read."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, serves, who
from controlplane.api.errors import invalid
from controlplane.api.fields import Text, id_schema
from controlplane.api.idempotency import Answer, answered, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, POLL_AFTER
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.rollout_plan_shape import RolloutPlanShape, rollout_plan
from controlplane.api.rollout_request import RolloutRequest, terms_of
from controlplane.api.rollout_shape import RolloutShape, RolloutSummaryShape, readable_rollouts, rollout_json, rollouts
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.databases.releases import TEXTS
from provisioning.models import Release, Rollout, RolloutState

ROLLOUT = OpenApiParameter("rollout", id_schema("rol"), OpenApiParameter.PATH, description="The id of the rollout.")
POLL_S = 5


class RolloutQuery(ListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    state = serializers.ListField(child=serializers.ChoiceField(choices=RolloutState.choices), required=False)
    release = serializers.ListField(child=Text(max_length=48), required=False, help_text="Where it leads, by name.")


class Rollouts(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="list_rollouts",
        summary="List rollouts",
        query=RolloutQuery,
        answers={200: (page_of(RolloutSummaryShape, "Rollout"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _filtered(readable_rollouts(), self.asked), self.asked, rollouts))

    @serves(
        scope=Scope.ROLLOUTS_WRITE,
        name="propose_rollout",
        summary="Propose a rollout",
        query=PlanQuery,
        takes=RolloutRequest,
        keyed="required",
        parameters=(ETAG,),
        answers={
            200: (RolloutPlanShape, "With validate_only: the plan. Nothing was done."),
            201: (RolloutShape, "A draft with its plan. Nothing is touched before somebody approves it."),
        },
    )
    def post(self, request: Request) -> HttpResponse | Response:
        """Plans how the fleet, or a part of it, gets to a release; an approval sets it going.

        The first plan between two releases takes as long as migrating one tenant: the way is recorded then.
        """
        key = optional_key(request) if self.plan_only else required_key(request)
        asked = shaped(request, RolloutRequest)
        if key is not None and not self.plan_only and (first := answered(request, key=key)) is not None:
            return first
        release, terms = _release(asked["release"]), terms_of(asked)
        plan = lifecycle.plan_rollout(release=release, terms=terms)  # here, since no transaction should wait for it
        if key is None or self.plan_only:
            return Response(rollout_plan(plan.row()))

        def propose() -> Answer:
            row = lifecycle.propose_rollout(release=release, terms=terms, actor=who(request), key=key)
            return rollout_answer(row, 201, Location=f"/api/v1/rollouts/{row.public_id}")

        return once(request, key=key, do=propose)


class OneRollout(Endpoint):
    @serves(
        scope=Scope.ROLLOUTS_READ,
        name="read_rollout",
        summary="Follow a rollout",
        parameters=(ROLLOUT, ETAG, POLL_AFTER),
        answers={200: (RolloutShape, "The rollout.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, rollout: str) -> Response:
        """While it runs, ask again after the seconds in Retry-After: counts change, the ETag only with the rollout."""
        row = found(readable_rollouts(), "rol", rollout)
        poll = {"Retry-After": str(POLL_S)} if row.state == RolloutState.RUNNING else {}
        return Response(rollout_json(row), headers={"ETag": etags.etag_of_version(row.version), **poll})


def rollout_answer(row: Rollout, status: int = 200, **headers: str) -> Answer:
    """The rollout as it is in this very transaction."""
    now = readable_rollouts().get(pk=row.pk)
    return Answer(status, rollout_json(now), {"ETag": etags.etag_of_version(now.version), **headers}, now.run)


def _release(name: str) -> Release:
    release = Release.objects.defer(*TEXTS).filter(name=name).first()
    if release is None:
        raise invalid("release", "UNKNOWN", f"There is no release {name!r}: GET /releases lists them.")
    return release


def _filtered(rows: QuerySet[Rollout], asked: dict[str, Any]) -> QuerySet[Rollout]:
    if "state" in asked:
        rows = rows.filter(state__in=asked["state"])
    if "release" in asked:
        rows = rows.filter(release__name__in=asked["release"])
    return rows
