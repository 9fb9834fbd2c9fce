"""The public functions of this package: every door (API, admin, command, Celery task) calls these and nothing else.

A verb that starts work returns its Run at once; tenant, run, audit entry and event are committed in one transaction,
and the bell rings after it. `actor` says who asks and `key` makes a repeat harmless: neither has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from provisioning.databases.blueprint import publish
from provisioning.databases.clusters import (
    NoCapacity,
    NoRelease,
    ReleaseCannotBePooled,
    change_cluster,
    change_pool,
    foresee,
    register_cluster,
    reserve,
)
from provisioning.databases.context_keys import begin as begin_context_keys
from provisioning.databases.context_keys import finish as finish_context_keys
from provisioning.databases.context_keys import plan as plan_context_keys
from provisioning.databases.pool_layout import rotate_password as rotate_pool_password
from provisioning.databases.releases import current_release, has_current
from provisioning.engine import control, drive
from provisioning.engine import sweep as sweeping
from provisioning.erasure import checkpoints, issuing, keeping, restored
from provisioning.erasure import verbs as erasures
from provisioning.erasure.acting import actions_of_erasure
from provisioning.erasure.clock import clock_of as clock_of_erasure
from provisioning.erasure.clock import findings as erasure_findings
from provisioning.erasure.clock import usual as usual_erasures
from provisioning.erasure.deadlines import BadExtension, DeadlineInfeasible
from provisioning.erasure.errors import InvalidErasure, PastTheBar, PlanBlocked
from provisioning.erasure.errors import LegalHold as ErasureHeld
from provisioning.erasure.errors import SamePerson as SameErasurePerson
from provisioning.erasure.hold_archive import holdable
from provisioning.erasure.holds import releasable as releasable_holds
from provisioning.erasure.identifiers import keyed as keyed_hash
from provisioning.erasure.intake import ErasureWish
from provisioning.erasure.intake import foreseen as foresee_erasure
from provisioning.erasure.people import answerable as answerable_for
from provisioning.erasure.stores import Identifier as ErasureIdentifier
from provisioning.errors import KeyReused, OperationInProgress, ReasonMissing
from provisioning.models import Queue, Run
from provisioning.providers import evidence_keys as signing_keys
from provisioning.rollout import verbs as rollouts
from provisioning.rollout.adoption import adopt as adopt_drift
from provisioning.rollout.drift import NoSuchTarget, reached_by, target_named, target_of, targets_of
from provisioning.rollout.drift import survey as survey_drift
from provisioning.rollout.errors import (
    InvalidRollout,
    OlderStillRuns,
    RehearsalObjects,
    RolloutRefused,
    SamePerson,
    TargetsTaken,
)
from provisioning.rollout.progress import progress_of
from provisioning.rollout.rehearsal import Limits as RehearsalLimits
from provisioning.rollout.repair import plan_repair as plan_repair_of_drift
from provisioning.rollout.repair import repair as repair_drift
from provisioning.rollout.repairing import start_repair
from provisioning.rollout.terms import Terms as RolloutTerms
from provisioning.workflows import WORKFLOWS
from provisioning.workflows.accepting import (
    VERBS,
    allow,
    as_uuid,
    checked_changes,
    exists,
    foreseen,
    lock_of,
    need,
    new_tenant,
    refuse_shared_role,
    repeat_of,
    repeated,
    same_wish,
    shares_its_role,
    start_onboarding,
    started,
)
from provisioning.workflows.accepting_together import onboard_together
from provisioning.workflows.data_keys import (
    destroy_data_key,
    hand_out_data_keys,
    retired_data_keys,
    rotate_data_key,
)
from provisioning.workflows.erase_sweep import sweep_erasures
from provisioning.workflows.exporting import export_tenant, export_to_file
from provisioning.workflows.handing_out import Credentials, credentials_of
from provisioning.workflows.held_records import open_records
from provisioning.workflows.leaving import (
    BadKeeping,
    DeletionProtected,
    delete_tenant,
    open_holds,
    plan_delete,
    plan_resume_tenant,
    plan_suspend,
    plan_undelete,
    resume_tenant,
    suspend,
    tenants_due_for_purge,
    undelete,
)
from provisioning.workflows.legal_holds import InvalidHold, place_hold, release_hold
from provisioning.workflows.onboard import ONBOARD
from provisioning.workflows.passports.tar import Spoiled as PassportSpoiled
from provisioning.workflows.passports.tar import check as check_passport
from provisioning.workflows.plans import PlanChanged, VerbPlan, estimate, shape_of
from provisioning.workflows.replay_erasure import replay_next, sweep_restored
from provisioning.workflows.resources import keep, observe
from provisioning.workflows.rotate_credentials import ROTATE_CREDENTIALS, RotateInput
from provisioning.workflows.schedules import (
    InvalidSchedule,
    cancel_schedule,
    dates_of,
    fire_due,
    plan_schedule,
    schedule,
)
from provisioning.workflows.tokens import mint_token, published_keys, replace_token_keys, rotate_token_key
from provisioning.workflows.wishes import (
    InvalidWish,
    TenantExists,
    TenantWish,
    UnsupportedTarget,
    checked,
    clash,
)
from tenants import events
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import StateConflict, TenureError
from tenants.events import EventType
from tenants.findings import Finding, Severity
from tenants.models import Tenant
from tenants.states import TenantState

actions_of, pause, resume, cancel, retry, skip, undo, force_complete = (
    control.actions, control.pause, control.resume, control.cancel,
    control.retry, control.skip, control.undo, control.force_complete,
)  # fmt: skip
actions_of_rollout, propose_rollout, plan_of, approve_rollout, pause_rollout = (
    rollouts.actions_of_rollout, rollouts.propose_rollout, rollouts.plan_of, rollouts.approve_rollout,
    rollouts.pause_rollout,
)  # fmt: skip
request_erasure, prove_identity, propose_erasure, plan_of_erasure, approve_erasure, reject_erasure = (
    erasures.request_erasure, erasures.prove_identity, erasures.propose_erasure, erasures.plan_of_erasure,
    erasures.approve_erasure, erasures.reject_erasure,
)  # fmt: skip
cancel_erasure, extend_erasure, hold_records, release_records, recheck_erasure = (
    erasures.cancel_erasure, erasures.extend_erasure, erasures.hold_records, erasures.release_records,
    erasures.recheck_erasure,
)  # fmt: skip
plan_rollout, plan_approval = rollouts.plan_rollout, rollouts.plan_approval
rehearse_rollout, start_rehearsal, latest_rehearsal = (
    rollouts.rehearse_rollout, rollouts.start_rehearsal, rollouts.latest_rehearsal,
)  # fmt: skip
resume_rollout, retry_failed, skip_target, cancel_rollout = (
    rollouts.resume_rollout, rollouts.retry_failed, rollouts.skip_target, rollouts.cancel_rollout,
)  # fmt: skip

keep_evidence, evidence_is_write_once, checkpoints_outside = (
    keeping.keep_evidence, keeping.is_write_once, checkpoints.outside,
)  # fmt: skip
certificate_keys, certificate_status, withdraw_certificates = issuing.public_key, issuing.status_list, issuing.withdraw
certificates_of_erasure = issuing.certificates_of
evidence_keys, rotate_evidence_key = signing_keys.as_pem, signing_keys.rotate
databases_behind, replay_tombstones = restored.behind, restored.replay_tombstones


class VersionMismatch(TenureError):
    """The tenant was changed since it was read."""

    code = "ETAG_MISMATCH"
    cure = "Read it again, decide again, and send the new ETag."


def plan_onboard(*, wish: TenantWish) -> VerbPlan:
    """What `onboard` would do, and what stands in its way (`blockers`). Writes nothing. Raises InvalidWish."""
    steps, pivot = shape_of(ONBOARD)
    creates: list[str] = []
    blockers: list[TenureError] = []
    try:
        asked = checked(wish)
        if clash(wish) is not None:
            blockers.append(TenantExists())
        cluster, pool = foresee(region=asked.region, tier=asked.tier)
        creates = [*foreseen(asked, cluster, pool), "data key"]
        if pool is None and not has_current():
            blockers.append(NoRelease())
    except (NoCapacity, NoRelease, ReleaseCannotBePooled, UnsupportedTarget) as error:
        blockers.append(error)
    return VerbPlan(
        verb="tenant.onboard",
        subject=wish.slug,
        steps=steps,
        creates=tuple(creates),
        pivot=pivot,
        blockers=tuple(
            Finding(code=error.code, severity=Severity.ERROR, subject=wish.slug, message=str(error), hint=error.cure)
            for error in blockers
        ),
        estimate=estimate(ONBOARD),
    )


def onboard(*, wish: TenantWish, actor: Actor, key: str, request_id: str = "", plan_digest: str | None = None) -> Run:
    """Accept a tenant: its row, placement and run, in one transaction (the caller's, or an own one).

    The same (actor, key) returns the run that exists. `run.tenant` is the tenant.
    Raises InvalidWish (with `errors`), UnsupportedTarget, TenantExists, NoCapacity, NoRelease, ReleaseCannotBePooled,
    KeyReused, PlanChanged.
    """
    if (known := repeated(actor, key)) is not None:
        return same_wish(known, wish)
    if plan_digest is not None:
        plan_onboard(wish=wish).confirm(plan_digest)
    asked = checked(wish)
    if not has_current():
        raise NoRelease
    try:
        with transaction.atomic():
            tenant = new_tenant(asked)
            tenant.save(force_insert=True)
            reserve(tenant, asked.tier)
            events.record(EventType.TENANT_CREATED, tenant_id=tenant.pk)
            run = start_onboarding(tenant, actor=actor, key=key, request_id=request_id, wish=wish.digest)
            audit(
                AuditAction.TENANT_CREATED,
                actor=actor,
                object=(ObjectType.TENANT, tenant.pk),
                tenant=tenant.pk,
                operation=run.pk,
                request=as_uuid(request_id),
            )
            return run
    except IntegrityError:
        # Somebody was first: the same request through another door, or another tenant of this name.
        if (known := repeated(actor, key)) is not None:
            return same_wish(known, wish)
        if (other := clash(wish)) is not None:
            raise exists(other, wish) from None
        raise


def retry_onboarding(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """A new onboarding of a tenant whose former one failed. Raises StateConflict, NoCapacity, OperationInProgress."""
    if (known := repeat_of(ONBOARD, tenant, actor, key)) is not None:
        return known
    need(reason)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().select_related("plan").get(pk=tenant.pk)
        allow("retry", tenant)
        tenant.to(TenantState.PROVISIONING)
        Tenant.objects.filter(pk=tenant.pk).update(incarnation=uuid4())
        tenant.refresh_from_db()
        reserve(tenant, tenant.plan.tier)
        return start_onboarding(tenant, actor=actor, key=key, request_id=request_id, reason=reason)


def update_tenant(
    *,
    tenant: Tenant,
    changes: Mapping[str, Any],
    if_version: int | None,
    actor: Actor,
    request_id: str = "",
) -> Tenant:
    """Change `name`, `plan` (by name), `labels` or `deletion_protection`; another plan moves nothing by itself.

    Raises VersionMismatch when `if_version` (None: any) is not the tenant's, InvalidWish.
    """
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        if if_version not in {None, tenant.version}:
            raise VersionMismatch(f"Tenant {tenant.slug} is at version {tenant.version}.", version=tenant.version)
        fields = checked_changes(tenant, changes)
        Tenant.objects.filter(pk=tenant.pk).update(**fields, version=F("version") + 1, updated_at=Now())
        events.record(EventType.TENANT_UPDATED, tenant_id=tenant.pk, data={"fields": sorted(fields)})
        audit(
            AuditAction.TENANT_UPDATED,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            request=as_uuid(request_id),
        )
        tenant.refresh_from_db()
        return tenant


def actions_of_tenant(tenant: Tenant, *, busy: bool | None = None, shares_role: bool | None = None) -> list[str]:
    """The verbs that its state allows now; none while an operation on it is unfinished (`busy`: None asks).

    Who logs in as the role of its pool (`shares_role`: None asks) has no password of its own to rotate.
    """
    if busy is None:
        busy = Run.objects.filter(lock_key=lock_of(tenant), finished_at__isnull=True).exists()
    if busy:
        return []
    allowed = [verb for verb, states in VERBS.items() if tenant.state in states]
    if "rotate_credentials" in allowed and (shares_its_role(tenant) if shares_role is None else shares_role):
        allowed.remove("rotate_credentials")
    if "delete" in allowed and tenant.deletion_protection:
        allowed.remove("delete")
    return allowed


def rotate_credentials(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """A new database password, by a workflow. Raises StateConflict, OperationInProgress, ReasonMissing."""
    if (known := repeat_of(ROTATE_CREDENTIALS, tenant, actor, key)) is not None:
        return known
    need(reason)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        allow("rotate_credentials", tenant)
        refuse_shared_role(tenant)
        asked = RotateInput(tenant_id=tenant.pk)
        return started(ROTATE_CREDENTIALS, asked, tenant, actor=actor, key=key, reason=reason, request_id=request_id)


def hand_out_credentials(*, tenant: Tenant, actor: Actor, request_id: str = "") -> Credentials:
    """Database and short-lived storage credentials of an active tenant. Raises StateConflict, Transient.

    The audit entry is committed before the caller sees a secret: a hand-out without a trace is what must not happen.
    """
    allow("credentials", tenant)
    credentials = credentials_of(tenant)
    with transaction.atomic():
        audit(
            AuditAction.CREDENTIALS_HANDED_OUT,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            request=as_uuid(request_id),
        )
    return credentials


def verify_resources(*, tenant: Tenant, actor: Actor) -> list[Finding]:
    """Observe every resource of the tenant now. What is found is kept on the rows, with the time."""
    context = tenant.context()
    observed = observe(context)
    findings = [finding for found in observed.values() for finding in found]
    with transaction.atomic():
        keep(context, observed)
        audit(
            AuditAction.RESOURCE_VERIFIED,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            counts={"findings": len(findings)},
        )
    return findings


def advance(*, queue: Queue) -> None:
    """Drive what is runnable in a queue, for a while. What a wake-up calls; safe to call twice, late, or never."""
    drive.advance(queue=queue, workflows=WORKFLOWS)


def sweep() -> None:
    """One pass over dates, deadlines, unheard wake-ups and what dead rollouts left behind; any number may run."""
    fire_due()
    sweep_erasures()
    sweep_restored()
    rollouts.keep_rollouts_going()
    rollouts.sweep_rehearsals()
    sweeping.sweep(WORKFLOWS)


__all__ = [
    "BadExtension", "BadKeeping", "DeadlineInfeasible", "DeletionProtected", "ErasureHeld", "ErasureIdentifier",
    "ErasureWish", "InvalidErasure", "InvalidHold", "InvalidRollout", "InvalidSchedule", "InvalidWish", "KeyReused",
    "NoCapacity", "NoRelease", "NoSuchTarget", "OlderStillRuns", "OperationInProgress", "PassportSpoiled", "PastTheBar",
    "PlanBlocked", "PlanChanged", "ReasonMissing", "RehearsalLimits", "RehearsalObjects", "ReleaseCannotBePooled",
    "RolloutRefused", "RolloutTerms", "SameErasurePerson", "SamePerson", "StateConflict", "TargetsTaken",
    "TenantExists", "TenantWish", "UnsupportedTarget", "VersionMismatch", "actions_of", "actions_of_erasure",
    "actions_of_rollout", "actions_of_tenant", "adopt_drift", "advance", "answerable_for", "approve_erasure",
    "approve_rollout", "begin_context_keys", "cancel", "cancel_erasure", "cancel_rollout", "cancel_schedule",
    "certificate_keys", "certificate_status", "certificates_of_erasure", "change_cluster", "change_pool",
    "check_passport", "checkpoints_outside", "clock_of_erasure", "current_release", "databases_behind", "dates_of",
    "delete_tenant", "destroy_data_key", "erasure_findings", "evidence_is_write_once", "evidence_keys", "export_tenant",
    "export_to_file", "extend_erasure", "finish_context_keys", "force_complete", "foresee_erasure",
    "hand_out_credentials", "hand_out_data_keys", "hold_records", "holdable", "keep_evidence", "keyed_hash",
    "latest_rehearsal", "mint_token", "onboard", "onboard_together", "open_holds", "open_records", "pause",
    "pause_rollout", "place_hold", "plan_approval", "plan_context_keys", "plan_delete", "plan_of", "plan_of_erasure",
    "plan_onboard", "plan_repair_of_drift", "plan_resume_tenant", "plan_rollout", "plan_schedule", "plan_suspend",
    "plan_undelete", "progress_of", "propose_erasure", "propose_rollout", "prove_identity", "publish", "published_keys",
    "reached_by", "recheck_erasure", "register_cluster", "rehearse_rollout", "reject_erasure", "releasable_holds",
    "release_hold", "release_records", "repair_drift", "replace_token_keys", "replay_next", "replay_tombstones",
    "request_erasure", "resume", "resume_rollout", "resume_tenant", "retired_data_keys", "retry", "retry_failed",
    "retry_onboarding", "rotate_credentials", "rotate_data_key", "rotate_evidence_key", "rotate_pool_password",
    "rotate_token_key", "schedule", "skip", "skip_target", "start_rehearsal", "start_repair", "survey_drift", "suspend",
    "sweep", "target_named", "target_of", "targets_of", "tenants_due_for_purge", "undelete", "undo", "update_tenant",
    "usual_erasures", "verify_resources", "withdraw_certificates",
]  # fmt: skip
