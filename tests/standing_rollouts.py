"""Rollouts as lanes would have left them: rows in every state, over tenants that are rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db.models import F
from django.utils import timezone

from provisioning.models import Queue, Rehearsal, Release, ReleasePath, Rollout, RolloutTarget, Run
from tenants.models import Cluster, Placement, Plan, Tenant
from tenants.placement import tenant_key
from tenants.states import TenantState, Tier
from tests.fleet import BILLING

STATEMENT = 'ALTER TABLE "projects_project" ADD CONSTRAINT "named" CHECK ("name" <> \'\')'
WRONG_ROW = {
    "class": "data error",
    "code": "DATA_ERROR",
    "detail": 'check constraint "named" of relation "projects_project" is violated by some row',
    "statement": STATEMENT,
    "migration": "projects.0005_named",
    "sqlstate": "23514",
    "hint": "Mend the rows, then retry.",
}
LOCKED = {**WRONG_ROW, "class": "lock timeout", "code": "LOCK_TIMEOUT", "sqlstate": "55P03",
          "detail": "canceling statement due to lock timeout", "hint": "See who holds it, then retry."}  # fmt: skip
DRIFTED = {
    "class": "drift",
    "code": "DRIFT",
    "detail": "The schema is not what its release says.",
    "difference": "+ column projects_project.extra integer",
    "hint": "Adopt, repair or skip it.",
}
WEIGHT = {"table": "projects_project", "lock": "ACCESS EXCLUSIVE", "rewrites": False, "scans": True,
          "why": "Every row is looked at."}  # fmt: skip
MIGRATION = {"migration": "projects.0005_named", "atomic": True, "statements": [STATEMENT],
             "data": ["Fill the names that are empty"]}  # fmt: skip


def release(name: str = "2030.01.1") -> Release:
    """A published release behind the current one, and a path to it."""
    current = Release.objects.get(current=True)
    made = Release.objects.create(name=name, state=Release.State.PUBLISHED, placeholder="x", fingerprint="f")
    Release.objects.filter(pk=made.pk).update(published_at=timezone.now())
    act = {"kind": "ddl", "text": STATEMENT, "position": 0, "operation": "AddConstraint", "description": ""}
    app, _dot, migration = str(MIGRATION["migration"]).partition(".")
    step = {"app": app, "name": migration, "atomic": True, "unapply": False, "replaces": [], "acts": [act]}
    ReleasePath.objects.create(source=current, target=made, migrations=[step], pool_migrations=[step])
    made.refresh_from_db()
    return made


def plan_of(to: Release, waves: Mapping[int, int]) -> dict[str, Any]:
    """A plan as a rollout keeps it, over schemas alone."""
    current = Release.objects.get(current=True).name
    path = {"source": current, "pooled": False, "targets": sum(waves.values()), "migrations": [MIGRATION],
            "refusals": []}  # fmt: skip
    return {
        "release": to.name, "targets": sum(waves.values()), "there": 2, "paths": [path],
        "waves": [{"number": wave, "targets": {"schema": size}} for wave, size in waves.items()],
        "left_out": [{"name": "half-made", "cause": "The tenant is provisioning."}], "left_out_count": 1,
        "older": [], "target_digest": "0" * 64, "estimate_s": None, "digest": "sha256:0", "sources": [current],
        "terms": {"selection": {}, "canary": [], "waves": [{"percent": 100}], "parallelism": 2,
                  "lock_timeout_ms": 2_000, "max_failures": {"count": 3}, "window": None, "starts_at": None},
    }  # fmt: skip


def rollout(to: Release, state: str, waves: Mapping[int, int] = {1: 0}, **fields: Any) -> Rollout:
    """A rollout of BILLING's without targets, at its first wave. `waves` are their sizes, for its plan."""
    now = timezone.now()
    approved = {} if state == "draft" else {"approved_by": "user:0", "approved_at": now - timedelta(minutes=2)}
    over = {"finished_at": now} if state in ("succeeded", "cancelled") else {}
    values: dict[str, Any] = {
        "release": to, "state": state, "plan": plan_of(to, waves), "plan_digest": "sha256:" + "0" * 64,
        "proposed_by": str(BILLING), "key": str(uuid4()), "max_failures": {"count": 3}, "wave": min(waves),
        "last_wave": max(waves), "waves": [{"percent": 100}], "run": None if state == "draft" else a_run(),
        **approved, **over, **fields,
    }  # fmt: skip
    return Rollout.objects.create(**values)


HELD = {"code": "LOCK_HELD", "target": "r0-acme", "table": "projects_project", "lock": "ACCESS EXCLUSIVE",
        "message": "projects_project is locked ACCESS EXCLUSIVE for 812 ms; it has 73,400,320 bytes.", "held_ms": 812.0,
        "bytes": 73_400_320, "migration": "projects.0005_named", "statement": STATEMENT}  # fmt: skip
BROKEN = {**HELD, "code": "COPY_FAILED", "target": "r1-acme", "table": "", "lock": "", "held_ms": 0.0, "bytes": 0,
          "message": WRONG_ROW["detail"]}  # fmt: skip


def copy(target: str = "r0-acme", *, error: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a rehearsal reports of one copy: a lock, and a table that was written anew."""
    lock = {key: HELD[key] for key in ("table", "lock", "held_ms", "bytes", "migration", "statement")}
    table = {"table": "projects_project", "bytes": HELD["bytes"], "rows": 48_211, "rewritten": True}
    return {"target": target, "tier": "schema", "cluster": "local-1", "source": "2026.11.1", "tenants": 1,
            "bytes": 90_000_000, "copied_bytes": 80_000_000, "copied_s": 3.2, "seconds": 1.4, "tables": [table],
            "locks": [lock], "error": dict(error or {})}  # fmt: skip


def rehearsal(of: Rollout, state: str = "finished", **fields: Any) -> Rehearsal:
    """A rehearsal of a draft on two copies, one of which failed; with two objections."""
    failed = {key: str(BROKEN[key]) for key in ("code", "message", "migration", "statement")}
    found = {
        "copies": [copy(), copy("r1-acme", error=failed)], "findings": [HELD, BROKEN], "estimate_s": [2.0, 9.5],
    }  # fmt: skip
    values: dict[str, Any] = {
        "rollout": of, "state": state, "plan_digest": of.plan_digest, "clusters": ["local-1"],
        "limits": {"lock": "ACCESS EXCLUSIVE", "ms": 500, "bytes": 67_108_864}, "started_by": str(BILLING),
        "finished_at": None if state == "running" else timezone.now(), **(found if state == "finished" else {}),
        **fields,
    }  # fmt: skip
    return Rehearsal.objects.create(**values)


def a_run() -> Run:
    """The operation of a rollout, as if a worker had taken it."""
    now = timezone.now()
    return Run.objects.create(
        workflow="rollout", version=1, queue=Queue.FLEET, state="running", step="run the waves", actor=str(BILLING),
        key=str(uuid4()), deadline_at=now + timedelta(days=30), run_at=now, started_at=now,
    )  # fmt: skip


def tenants(number: int, *, prefix: str = "r") -> list[Tenant]:
    """Active tenants of the schema tier that are rows alone."""
    cluster, plan, on = Cluster.objects.get(), Plan.objects.get(name="standard"), Release.objects.get(current=True)
    made = Tenant.objects.bulk_create(
        Tenant(
            pk=uuid4(), slug=f"{prefix}{each}-acme", name="Acme", principal="billing", plan=plan, region="local",
            release=on.name, state=TenantState.ACTIVE,
        )
        for each in range(number)
    )  # fmt: skip
    Placement.objects.bulk_create(
        Placement(tenant=each, tier=Tier.SCHEMA, cluster=cluster, database=cluster.database, schema=tenant_key(each.pk))
        for each in made
    )
    return made


def targets(of: Rollout, states: Iterable[str | Mapping[str, Any]], *, wave: int = 1, prefix: str = "r") -> None:
    """A target for each state, on a tenant of its own; a mapping is fields beside `state`."""
    rows = [{"state": state} if isinstance(state, str) else dict(state) for state in states]
    source, first = Release.objects.get(current=True), of.targets.count()
    path = ReleasePath.objects.filter(source=source, target=of.release).first()
    owners = tenants(len(rows), prefix=f"{prefix}{wave}-")
    RolloutTarget.objects.bulk_create(
        RolloutTarget(
            rollout=of, position=first + number, wave=wave, tenant=owner, source=source, path=path,
            cluster=Cluster.objects.get(), **{**_usual(str(row["state"])), **row},
        )
        for number, (row, owner) in enumerate(zip(rows, owners, strict=True))
    )  # fmt: skip
    Tenant.objects.filter(pk__in=of.targets.filter(state="succeeded").values("tenant")).update(
        release=of.release.name, version=F("version") + 1
    )


def _usual(state: str) -> dict[str, Any]:
    """What a target in a state has beside it."""
    now = timezone.now()
    ended = {"started_at": now - timedelta(seconds=30), "finished_at": now - timedelta(seconds=20), "seconds": 0.02}
    return {
        "waiting": {},
        "running": {"fence": 1, "started_at": now},
        "succeeded": {**ended, "attempts": 1},
        "failed": {**ended, "attempts": 5, "error": WRONG_ROW},
        "skipped": {"reason": "The customer asked for it.", "finished_at": now},
    }[state]


def blocked(by: UUID | None = None) -> dict[str, Any]:
    """A target that waits for an operation."""
    return {"state": "waiting", "blocked_by": by or uuid4(), "not_before": timezone.now()}
