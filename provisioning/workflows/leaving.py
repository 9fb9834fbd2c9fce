"""Accepting what suspends, resumes, deletes and undeletes a tenant; and what each of these would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from provisioning.engine.workflow import Workflow
from provisioning.models import LegalHold, Run
from provisioning.workflows.accepting import VERBS, allow, lock_of, need, repeat_of, started
from provisioning.workflows.delete import DELETE, DeleteInput
from provisioning.workflows.plans import VerbPlan, estimate, shape_of
from provisioning.workflows.resume import RESUME, ResumeInput
from provisioning.workflows.suspend import SUSPEND, SuspendInput
from provisioning.workflows.undelete import UNDELETE, UndeleteInput
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.findings import Finding, Severity
from tenants.models import Tenant
from tenants.states import DeleteReason, TenantState

KEEP_DAYS = 7  # from the deletion to the purge, unless the request says otherwise
MOST_DAYS = 3_650


class DeletionProtected(TenureError):
    """The tenant is protected from being deleted."""

    code = "DELETION_PROTECTED"
    cure = "Take `deletion_protection` off first: PATCH the tenant, and be sure that it is the one you mean."


class BadKeeping(TenureError):
    """The number of days for which a deleted tenant's data is kept cannot be that."""

    code = "VALIDATION_FAILED"
    cure = f"Give 0 to {MOST_DAYS} whole days, or leave it out: {KEEP_DAYS}."


def suspend(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """Shut every door of a tenant; nothing is lost. Raises StateConflict, OperationInProgress, ReasonMissing."""
    asked = SuspendInput(tenant_id=tenant.pk)
    return _started(SUSPEND, asked, tenant, reason=reason, actor=actor, key=key, request_id=request_id)


def resume_tenant(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """Open a suspended tenant again. Raises StateConflict, OperationInProgress, ReasonMissing."""
    asked = ResumeInput(tenant_id=tenant.pk)
    return _started(RESUME, asked, tenant, reason=reason, actor=actor, key=key, request_id=request_id)


def undelete(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """Call the purge of a deleted tenant off and open it. Raises StateConflict, OperationInProgress, ReasonMissing."""
    asked = UndeleteInput(tenant_id=tenant.pk)
    return _started(UNDELETE, asked, tenant, reason=reason, actor=actor, key=key, request_id=request_id)


def delete_tenant(
    *,
    tenant: Tenant,
    reason: str,
    actor: Actor,
    key: str,
    delete_reason: DeleteReason = DeleteReason.CONTRACT_ENDED,
    keep_days: int = KEEP_DAYS,
    request_id: str = "",
) -> Run:
    """Shut a tenant, and let its data be erased `keep_days` days later; until then `undelete` takes it back.

    Destroys nothing. Of a tenant that is deleted, or about to be, the operation that does it is returned. Raises
    DeletionProtected, BadKeeping, StateConflict, OperationInProgress, ReasonMissing.
    """
    if (known := repeat_of(DELETE, tenant, actor, key)) is not None:
        return known
    need(reason)
    _check_days(keep_days)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        if (former := _deletion_of(tenant)) is not None:
            return former
        _refuse_protected(tenant)
        asked = DeleteInput(tenant.pk, was=tenant.state, delete_reason=delete_reason, keep_days=keep_days)
        return _started(DELETE, asked, tenant, reason=reason, actor=actor, key=key, request_id=request_id)


def plan_suspend(tenant: Tenant) -> VerbPlan:
    return _plan(SUSPEND, tenant)


def plan_resume_tenant(tenant: Tenant) -> VerbPlan:
    opens = "its host, its tokens and tasks, its credentials as they were handed out"
    return _plan(RESUME, tenant, creates=(f"a way in to {tenant.slug}: {opens}",))


def plan_undelete(tenant: Tenant) -> VerbPlan:
    return _plan(UNDELETE, tenant, creates=(f"a way in to {tenant.slug}, and no purge",))


def plan_delete(tenant: Tenant, *, keep_days: int = KEEP_DAYS) -> VerbPlan:
    """Its `removes` says what is lost when. Raises BadKeeping."""
    _check_days(keep_days)
    waits = ", and not before its legal holds are released" if open_holds(tenant).exists() else ""
    removes = f"its data, {keep_days} days after it is shut, unless it is undeleted before{waits}"
    return _plan(DELETE, tenant, removes=(f"every way in to {tenant.slug}, at once", removes))


def open_holds(tenant: Tenant) -> QuerySet[LegalHold]:
    """While there is one, nothing of the tenant is purged or erased."""
    return LegalHold.objects.open(tenant.pk)


def tenants_due_for_purge() -> QuerySet[Tenant]:
    """Deleted tenants whose days are over and whom no legal hold keeps, the longest overdue first.

    Whoever erases one looks again under the lock on its row, which placing a hold and undeleting take, too.
    """
    held = LegalHold.objects.filter(tenant=OuterRef("pk"), released_at=None)
    due = Tenant.objects.filter(state=TenantState.DELETED, purge_at__lte=Now())
    tenants: QuerySet[Tenant] = due.exclude(Exists(held)).order_by("purge_at", "pk")
    return tenants


def _started(
    workflow: Workflow, asked: Any, tenant: Tenant, *, reason: str, actor: Actor, key: str, request_id: str
) -> Run:
    if (known := repeat_of(workflow, tenant, actor, key)) is not None:
        return known
    need(reason)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        allow(workflow.name, tenant)
        return started(workflow, asked, tenant, actor=actor, key=key, reason=reason, request_id=request_id)


def _deletion_of(tenant: Tenant) -> Run | None:
    """The operation that deletes it, or has deleted it."""
    runs = Run.objects.select_related("tenant").filter(tenant=tenant, parent=None)
    at_work = runs.filter(finished_at=None).first()
    if at_work is None and tenant.state == TenantState.DELETED:
        return runs.filter(workflow=DELETE.name).order_by("created_at").last()
    return at_work if at_work is not None and at_work.workflow == DELETE.name else None


def _plan(
    workflow: Workflow, tenant: Tenant, *, creates: tuple[str, ...] = (), removes: tuple[str, ...] = ()
) -> VerbPlan:
    steps, pivot = shape_of(workflow)
    return VerbPlan(
        verb=f"tenant.{workflow.name}",
        subject=tenant.slug,
        steps=steps,
        creates=creates,
        removes=removes,
        pivot=pivot,
        blockers=tuple(_blockers(workflow, tenant)),
        estimate=estimate(workflow),
    )


def _blockers(workflow: Workflow, tenant: Tenant) -> Iterator[Finding]:
    try:
        allow(workflow.name, tenant)
        if workflow is DELETE:
            _refuse_protected(tenant)
    except TenureError as error:
        yield Finding(error.code, Severity.ERROR, tenant.slug, str(error), error.cure)
    open_run = Run.objects.filter(lock_key=lock_of(tenant), finished_at__isnull=True).first()
    if open_run is not None:
        message = f"Operation {open_run.public_id} ({open_run.workflow}) is not finished."
        yield Finding("OPERATION_IN_PROGRESS", Severity.ERROR, tenant.slug, message, "Wait for it, or cancel it.")


def _refuse_protected(tenant: Tenant) -> None:
    if tenant.deletion_protection and tenant.state in VERBS["delete"]:
        raise DeletionProtected(f"Tenant {tenant.slug} is protected from being deleted.")


def _check_days(days: int) -> None:
    if not 0 <= days <= MOST_DAYS:
        raise BadKeeping(f"{days} days is no time to keep a deleted tenant's data for.", field="keep_days")
