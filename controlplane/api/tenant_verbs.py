"""/tenants/{id}/…: what may be done to a tenant, and what it has: operations, resources, credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import Json, NoBodyRequest, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.credentials_shape import CredentialsShape
from controlplane.api.endpoint import Endpoint, PlanQuery, request_id, serves, who
from controlplane.api.fields import Text
from controlplane.api.idempotency import Answer, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.openapi import IF_MATCH, NO_STORE
from controlplane.api.operation_shape import OperationShape, operations, readable_runs
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.plan_shape import FindingShape, VerbPlanShape, verb_plan
from controlplane.api.tenants import TENANT, AcceptedShape, accepted
from controlplane.models import Scope
from controlplane.tenant_plans import plan_export, plan_retry, plan_rotate
from provisioning import lifecycle
from provisioning.models import Resource, ResourceKind, Run
from provisioning.workflows.plans import VerbPlan
from tenants.models import Tenant

STARTS = (Code.NOT_FOUND, Code.STATE_CONFLICT, Code.PLAN_CHANGED, Code.OPERATION_IN_PROGRESS, Code.ETAG_MISMATCH)

STARTED = {
    200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
    202: (AcceptedShape, "Accepted: the operation to follow, and the tenant it is about."),
}


@extend_schema_serializer(examples=[OpenApiExample("A reason", value={"reason": "The region has room again."})])
class ReasonRequest(Shape):
    """Why."""

    reason = Text(max_length=500, help_text="Why; it is kept with the operation.")
    plan_digest = Text(
        required=False, allow_null=True, max_length=80, help_text="Of the plan you saw: 409 when it has changed."
    )


class ResourceShape(serializers.ModelSerializer[Resource]):
    """One thing a tenant owns, under the names it was planned with."""

    kind = serializers.ChoiceField(choices=ResourceKind.choices, read_only=True)
    state = serializers.ChoiceField(choices=Resource.State.choices, read_only=True)
    handle = serializers.DictField(read_only=True, help_text="Where it is: derived names, never a secret.")
    findings = FindingShape(many=True, read_only=True, help_text="What the last verification found.")

    class Meta:
        model = Resource
        fields = ("kind", "state", "handle", "verified_at", "findings", "created_at", "updated_at")
        read_only_fields = fields


class RetryTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="retry_tenant",
        summary="Onboard a failed tenant again",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers={
            200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
            202: (AcceptedShape, "Accepted: a new operation on the same tenant."),
        },
        problems=(*STARTS, Code.NO_CAPACITY),
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """The failed onboarding was undone; this starts a new one. Slug and id stay the same."""
        return _started(self, request, tenant, lifecycle.retry_onboarding, plan_retry)


class SuspendTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="suspend_tenant",
        summary="Suspend a tenant",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers=STARTED,
        problems=STARTS,
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Shuts its host, tokens, tasks, storage sessions and database logins, old ones too. Nothing is lost."""
        return _started(self, request, tenant, lifecycle.suspend, lifecycle.plan_suspend)


class ResumeTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="resume_tenant",
        summary="Resume a suspended tenant",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers=STARTED,
        problems=STARTS,
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Opens what suspending shut. Credentials that were handed out before let in again, if they have not ended."""
        return _started(self, request, tenant, lifecycle.resume_tenant, lifecycle.plan_resume_tenant)


class UndeleteTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_DELETE,
        name="undelete_tenant",
        summary="Take a deletion back",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers=STARTED,
        problems=STARTS,
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Calls the purge off and makes it active. Possible until its data is being erased."""
        return _started(self, request, tenant, lifecycle.undelete, lifecycle.plan_undelete)


class ExportTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="export_tenant",
        summary="Export a tenant",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers=STARTED,
        problems=STARTS,
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Puts its passport into its own bucket: every row as it stood at one moment, a list of its objects, checksums.

        A suspended or deleted tenant has one, too. The output of `write manifest` names the folder.
        """
        return _started(self, request, tenant, lifecycle.export_tenant, plan_export)


class RotateCredentials(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="rotate_tenant_credentials",
        summary="Rotate a tenant's database password",
        query=PlanQuery,
        takes=ReasonRequest,
        keyed="required",
        parameters=(TENANT, IF_MATCH),
        answers={
            200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
            202: (AcceptedShape, "Accepted: the operation that changes the password."),
        },
        problems=STARTS,
    )
    def post(self, request: Request, tenant: str) -> HttpResponse | Response:
        """The old password stops working. Storage credentials end by themselves and need no rotation."""
        return _started(self, request, tenant, lifecycle.rotate_credentials, plan_rotate)


class HandOutCredentials(Endpoint):
    @serves(
        scope=Scope.TENANTS_CREDENTIALS,
        name="hand_out_tenant_credentials",
        summary="Hand out a tenant's credentials",
        takes=NoBodyRequest,
        parameters=(TENANT, IF_MATCH, NO_STORE),
        answers={200: (CredentialsShape, "The secrets. Nothing here keeps them: do not log this answer.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.ETAG_MISMATCH),
    )
    def post(self, request: Request, tenant: str) -> Response:
        """The database password, and fresh storage credentials that end by themselves; each hand-out is audited.

        An Idempotency-Key has no use here: a secret is never kept to be repeated.
        """
        shaped(request, NoBodyRequest)
        row = found(Tenant.objects.all(), "ten", tenant)
        etags.expected_version(request, row.version)
        given = lifecycle.hand_out_credentials(tenant=row, actor=who(request), request_id=request_id(request))
        return Response(CredentialsShape(given).data, headers={"Cache-Control": "no-store"})


class OperationsOfTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tenant_operations",
        summary="List a tenant's operations",
        query=ListQuery,
        parameters=(TENANT,),
        answers={200: (page_of(OperationShape, "OperationOfTenant"), "One page, newest first.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, tenant: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(page(request, readable_runs().filter(tenant=row), self.asked, operations))


class ResourcesOfTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tenant_resources",
        summary="List what a tenant owns",
        query=ListQuery,
        parameters=(TENANT,),
        answers={200: (page_of(ResourceShape, "Resource"), "One page, newest first.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, tenant: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(page(request, Resource.objects.filter(tenant=row), self.asked, _resources))


def _resources(rows: Any) -> list[Json]:
    return [dict(ResourceShape(row).data) for row in rows]


def _started(
    endpoint: Endpoint,
    request: Request,
    tenant: str,
    verb: Callable[..., Run],
    plan: Callable[[Tenant], VerbPlan],
) -> HttpResponse | Response:
    """A verb that starts an operation on a tenant, once per key, with a reason and in the state the caller saw."""
    key = optional_key(request) if endpoint.plan_only else required_key(request)
    asked = shaped(request, ReasonRequest)
    row = found(Tenant.objects.all(), "ten", tenant)
    if key is None or endpoint.plan_only:
        etags.expected_version(request, row.version)
        return Response(verb_plan(plan(row)))

    def start() -> Answer:
        locked = Tenant.objects.select_for_update().get(pk=row.pk)  # what If-Match names must stay until the commit
        etags.expected_version(request, locked.version)
        plan(locked).confirm(asked.get("plan_digest"))
        run = verb(tenant=locked, reason=asked["reason"], actor=who(request), key=key, request_id=request_id(request))
        return accepted(run)

    return once(request, key=key, do=start)
