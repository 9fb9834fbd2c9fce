"""The two workflows of an erasure that change nothing in any store: counting for a plan, and looking again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import Body, Done, Outcome, Step, StepContext, Workflow
from provisioning.erasure import holds, issuing, ledger, plan, rounds, sealed, settling
from provisioning.erasure.errors import CertificateRefused
from provisioning.erasure.issuing import Draft
from provisioning.erasure.payload import payload
from provisioning.erasure.registry import REGISTRY, Registry
from provisioning.models import ErasureCertificate, ErasureRequest, ErasureState, Queue, Recheck
from provisioning.workflows.erase_freezing import request_of
from provisioning.workflows.erase_phases import verdicts_of
from tenants.actions import AuditAction

Stage = ErasureCertificate.Stage
LOOK_AGAIN = timedelta(minutes=15)
LONG = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class LookInput:
    """Which request, and which of its days; None: the second check of a round."""

    request_id: UUID
    recheck: int | None = None


def count(registry: Registry) -> Body:
    """What is there, for somebody to propose. Of a blocked request: whether it still is."""

    def do(ctx: StepContext) -> Outcome:
        request = request_of(ctx)
        if request.state not in {ErasureState.PLANNING, ErasureState.BLOCKED}:
            return Done()
        document = plan.count(request, registry)
        blockers = [blocker["code"] for blocker in document["blockers"]]
        return Done({"blockers": blockers}, also=lambda: counted(request, document))

    return do


def counted(request: ErasureRequest, document: plan.Document) -> None:
    """Kept if nothing has changed the request meanwhile; else the sweeper has it counted anew."""
    version = request.version
    if settling.locked(request).version != version:
        return
    again = timezone.now() + LOOK_AGAIN
    blocked = bool(document["blockers"])
    if request.state == ErasureState.PLANNING and blocked:
        request.to(ErasureState.BLOCKED, actor=ENGINE, counted=document, look_at=again)
    elif request.state == ErasureState.BLOCKED and not blocked:
        request.to(ErasureState.PLANNING, actor=ENGINE, counted=document, look_at=None)
    elif request.state in {ErasureState.PLANNING, ErasureState.BLOCKED}:
        ErasureRequest.objects.filter(pk=request.pk).update(
            counted=document, look_at=again if blocked else None, version=F("version") + 1
        )


def look_again(registry: Registry) -> Body:
    """The second check of a round, after the soak; or one of the days after the certificate."""

    def do(ctx: StepContext) -> Outcome:
        request = request_of(ctx)
        if request.state == ErasureState.CHECKING:
            return second_check(ctx, request, registry)
        recheck = Recheck.objects.filter(pk=ctx.input.recheck, request=request, done_at=None).first()
        if request.state != ErasureState.SETTLING or recheck is None:
            return Done()
        verdicts = verdicts_of(ctx, request, registry)
        dirty = rounds.not_clean(verdicts, "dirty")
        final = None if dirty or not settling.is_last(request, recheck) else _drafted(request, registry, Stage.FINAL)
        return Done({"dirty": dirty}, also=lambda: settling.rechecked(request, recheck, verdicts, final))

    return do


def second_check(ctx: StepContext, request: ErasureRequest, registry: Registry) -> Outcome:
    verdicts = verdicts_of(ctx, request, registry)
    if dirty := rounds.not_clean(verdicts, "dirty"):
        return Done({"dirty": dirty}, also=lambda: settling.another_round(request, verdicts))
    live = _drafted(request, registry, Stage.LIVE)
    return Done({"clean": len(verdicts)}, also=lambda: settling.settle(request, live))


def _drafted(request: ErasureRequest, registry: Registry, stage: Stage) -> Draft:
    """Signed now, and kept with the state: what can refuse has refused by then. Raises CertificateRefused."""
    document = payload(request, registry, stage=stage)
    try:
        return issuing.draft(document, request=request.pk, stage=stage)
    except issuing.NotCertified as error:
        raise CertificateRefused(str(error)) from error


def mark(ctx: StepContext) -> Outcome:
    """From its certificate on, each database that the data was in must know of the erasure: see erasure/ledger.py."""
    request = request_of(ctx)
    if request.state in {ErasureState.SETTLING, ErasureState.COMPLETED} and request.tombstone is not None:
        ledger.certify(request.tombstone)
        ledger.mark(request.tombstone)
    return Done()


def forget(ctx: StepContext) -> Outcome:
    """Whoever is done with knows no identifiers any more: the key is destroyed, then what it sealed."""
    family = holds.family_of(ctx.input.request_id)  # whom this one has taken over from is done with, too
    over = list(ErasureRequest.objects.filter(pk__in=family, state=ErasureState.COMPLETED, key_destroyed_at=None))
    for request in over:
        destroy_key(request)
    return Done(also=lambda: all_forgotten(over))


def all_forgotten(requests: Iterable[ErasureRequest]) -> None:
    for request in requests:
        forgotten(request)


def destroy_key(request: ErasureRequest) -> None:
    sealed.destroy(request.pk)


def forgotten(request: ErasureRequest) -> None:
    """What the destroyed key had sealed goes, too. Part of the caller's transaction."""
    request.stores.update(found=None)
    ErasureRequest.objects.filter(pk=request.pk).update(identifiers=None, key_destroyed_at=timezone.now(), look_at=None)
    request.say(AuditAction.ERASURE_KEY_DESTROYED, actor=ENGINE)


def looks(registry: Registry) -> tuple[Workflow, Workflow]:
    return (
        Workflow(
            name="plan erasure",
            version=1,
            queue=Queue.OPERATIONS,
            input=LookInput,
            steps=(Step(name="count", do=count(registry), changes_nothing=True, timeout=LONG),),
        ),
        Workflow(
            name="check erasure",
            version=1,
            queue=Queue.OPERATIONS,
            input=LookInput,
            steps=(
                # A pivot, as there is nothing to take back: whatever stops it parks it, and a person looks.
                Step(name="look again", do=look_again(registry), pivot=True, timeout=LONG),
                Step(name="mark databases", do=mark),
                Step(name="forget", do=forget),
            ),
        ),
    )


PLAN_ERASURE, CHECK_ERASURE = looks(REGISTRY)
