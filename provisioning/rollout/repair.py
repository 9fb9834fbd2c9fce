"""Make a target its release's again: a plan that a person reads, then one transaction that ends right or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import psycopg
from django.db import transaction
from psycopg import sql

from provisioning.databases import ddl, drift
from provisioning.databases.fingerprint import shape
from provisioning.databases.mending import Mend, mending
from provisioning.databases.releases import release_named
from provisioning.databases.servers import Connection, connect, run, server_errors
from provisioning.databases.stamp import prepare
from provisioning.errors import OperationInProgress, Permanent
from provisioning.models import Run
from provisioning.rollout.adoption import give_up, told
from provisioning.rollout.drift import Target
from tenants.actions import Actor, AuditAction
from tenants.errors import StateConflict

SHOWN = 5


class NotRepairable(Permanent):
    """The target differs in something that only a person can put right. Nothing was changed."""

    code = "DRIFT_NOT_REPAIRABLE"
    cure = "Put what is named right by hand as the owner role, or adopt it; then ask again."


class RepairFailed(Permanent):
    """A repair was refused by the server, or did not lead to the release's shape. Nothing was changed."""

    code = "DRIFT_REPAIR_FAILED"
    cure = "Read what is said, put that right by hand as the owner role, or adopt the drift."


class RepairChanged(StateConflict):
    """The target is not as it was when the repair was planned."""

    code = "PLAN_CHANGED"
    cure = "Read the new plan, and confirm that one."


class NothingToRepair(StateConflict):
    """The target does not differ from its release."""

    code = "NO_DRIFT"
    cure = "Nothing to do."


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What differs, what would be sent for it, and what is left to a person: with any of that nothing is sent."""

    target: Target
    lines: tuple[str, ...]
    statements: tuple[Mend, ...]
    left: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the statements: who confirms them confirms these."""
        return sha256("\n".join(each.statement for each in self.statements).encode()).hexdigest()


def plan_repair(*, target: Target) -> RepairPlan:
    """What `repair` would do. Changes nothing. Raises ServerUnavailable, ServerRefused, NoRelease."""
    with _inside(target) as connection:
        return _planned(connection, target)


def repair(*, target: Target, digest: str, actor: Actor) -> RepairPlan:
    """Send the statements of the plan with this digest; the adoption of what differed ends with it.

    Raises NothingToRepair, NotRepairable, RepairChanged, RepairFailed, OperationInProgress, or a server's error.
    """
    _refuse_while_busy(target)
    plan = mended(target, digest)
    mended_by(actor, target, lines=len(plan.lines))
    return plan


def mended(target: Target, digest: str) -> RepairPlan:
    """The part of `repair` that is the target's: one transaction on its server."""
    with _inside(target) as connection, connection.transaction():
        run(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", f"tenure: {target.schema}")
        plan = _planned(connection, target)
        refuse_repair(plan)
        if plan.digest != digest:
            raise RepairChanged
        _send(connection, plan)
        if lines := drift.drift_of(connection, target.schema, release_named(target.release), pooled=target.pooled):
            raise RepairFailed(f"After the repair {target.name} would still differ: {_some(lines)}")
    return plan


def mended_by(actor: Actor, target: Target, *, lines: int, operation: UUID | None = None) -> None:
    """The part of `repair` that is ours: nothing is accepted of the target any more, and the audit log says why."""
    with transaction.atomic():
        give_up(target)
        told(AuditAction.DRIFT_REPAIRED, target, actor, findings=lines, operation=operation)


def lock_of(target: Target) -> str:
    """What operations on this target hold: those of a tenant exclude each other, and repairs of a pool do."""
    return f"pool:{target.pool_id}" if target.pooled else f"tenant:{target.tenant_id}"


def busy_with(target: Target) -> Run | None:
    """The operation that holds it now."""
    return Run.objects.filter(lock_key=lock_of(target), parent=None, finished_at__isnull=True).first()


def refuse_repair(plan: RepairPlan) -> None:
    """Raises NothingToRepair or NotRepairable, where nothing would be sent."""
    target = plan.target
    if not plan.lines:
        raise NothingToRepair(f"{target.name} does not differ from release {target.release}.")
    if plan.left:
        raise NotRepairable(f"{target.name} differs in {_some(plan.left)}.", left=list(plan.left))


def _planned(connection: Connection, target: Target) -> RepairPlan:
    release = release_named(target.release)
    lines = drift.drift_of(connection, target.schema, release, pooled=target.pooled)
    if not lines:
        return RepairPlan(target, (), (), ())
    found = shape(connection, target.schema)
    expected = release.pool_shape if target.pooled else release.shape
    mend = mending(connection, target.schema, expected=expected, found=found)
    return RepairPlan(target, tuple(lines), mend.statements, mend.left)


def _send(connection: Connection, plan: RepairPlan) -> None:
    """As the owner, where unqualified names are the schema's: that is how the release's lines are written."""
    run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
    run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(plan.target.schema)))
    for each in plan.statements:
        try:
            run(connection, sql.SQL(each.statement))  # the release's own lines, and composed names
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise RepairFailed(f"{each.statement}: {error.diag.message_primary}", statement=each.statement) from error
    run(connection, "RESET ROLE; SET LOCAL search_path = pg_catalog")


def _refuse_while_busy(target: Target) -> None:
    """An operation on the tenant, or another repair, may be at work in the same tables."""
    if (busy := busy_with(target)) is not None:
        raise OperationInProgress(f"{target.name} is busy.", blocking_operation=busy.public_id)


@contextmanager
def _inside(target: Target) -> Iterator[Connection]:
    with server_errors(target.name), connect(target.cluster, database=target.database) as connection:
        prepare(connection)
        yield connection


def _some(lines: tuple[str, ...] | list[str]) -> str:
    more = len(lines) - SHOWN
    return "; ".join(lines[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
