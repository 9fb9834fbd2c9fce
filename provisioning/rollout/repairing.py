"""A repair for whoever cannot wait for it: a run of the fleet's queue, around the one transaction of `mended`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from provisioning.engine.start import start
from provisioning.engine.workflow import LONGEST_TIMEOUT, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import Permanent
from provisioning.models import Queue, Run
from provisioning.rollout.acting import asker_of
from provisioning.rollout.drift import NoSuchTarget, target_of
from provisioning.rollout.repair import (
    NothingToRepair,
    RepairChanged,
    RepairPlan,
    lock_of,
    mended,
    mended_by,
    refuse_repair,
)
from tenants.audit import Actor


class RepairOutdated(Permanent):
    """The target is not as it was when the repair was confirmed. Nothing was changed."""

    code = "PLAN_CHANGED"
    cure = "Read the new plan, and confirm that one."


@dataclass(frozen=True, slots=True)
class RepairInput:
    """One of `tenant_id` and `pool_id`; the digest of the plan that was confirmed, how many lines differed in it."""

    tenant_id: UUID | None
    pool_id: UUID | None
    digest: str
    lines: int


def start_repair(*, plan: RepairPlan, actor: Actor, key: str, request_id: str = "") -> Run:
    """Have a worker send the statements of this plan. The same (actor, key) returns the run that exists.

    Raises NothingToRepair, NotRepairable, or OperationInProgress: of the tenant, or another repair of the pool.
    """
    target = plan.target
    if (known := Run.objects.filter(actor=str(actor), key=key, workflow=REPAIR.name).first()) is not None:
        return known  # by now there may be nothing to repair any more
    refuse_repair(plan)
    with transaction.atomic():
        return start(
            REPAIR,
            input=RepairInput(target.tenant_id, target.pool_id, plan.digest, len(plan.lines)),
            tenant_id=target.tenant_id,
            lock_key=lock_of(target),
            actor=actor,
            key=key,
            request_id=request_id,
        )


def repair_target(ctx: StepContext) -> Outcome:
    """Its transaction either is there or is not: who comes again after a death finds nothing to repair, and says so."""
    asked = ctx.input
    try:
        target = target_of(tenant_id=asked.tenant_id, pool_id=asked.pool_id)
        ctx.check()
        with suppress(NothingToRepair):
            mended(target, asked.digest)
    except NoSuchTarget as error:
        raise RepairOutdated(str(error)) from error
    except RepairChanged as error:
        raise RepairOutdated(f"{target.name} is not as it was when this was confirmed.") from error
    by = asker_of(ctx.run)
    return Done(also=lambda: mended_by(by, target, lines=asked.lines, operation=ctx.run_id))


REPAIR = Workflow(
    name="drift repair",
    version=1,
    queue=Queue.FLEET,
    input=RepairInput,
    steps=(
        Step(
            name="repair",
            do=repair_target,
            changes_nothing=True,  # where it fails: its statements are one transaction
            timeout=LONGEST_TIMEOUT,
            deadline=timedelta(hours=12),
            exhausted="undo",
        ),
    ),
)
