"""Part of the rollout benchmark: whole rollouts of ours, driven by the worker processes that `make run` starts.

A Celery worker of the fleet queue with two processes, and the sweeper. Each line it reads is `{"to", "labels"}`;
it answers with a line of JSON: seconds from the approval until the rollout has succeeded, those that the
lanes replayed, and the greatest memory that a worker process ever had resident, in kB.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from benchmarks import control
from benchmarks.rollout_tenants import WARMING

PROCESSES = CANARIES = 2
WAVES = [{"percent": 10}, {"percent": 100}]
LOOKS_EVERY_S, PATIENCE = 0.2, timedelta(hours=1)


def main() -> None:
    control.furnish()
    with control.celery("fleet", processes=PROCESSES) as worker, control.process("manage.py", "sweep"):
        for name in warm_up():
            rolled_out({"to": name, "labels": WARMING})
        print(json.dumps({"warm": True}), flush=True)
        for line in sys.stdin:
            answer = rolled_out(json.loads(line))
            print(json.dumps({**answer, "memory_kb": most_resident(worker.pid)}), flush=True)


def warm_up() -> list[str]:
    """The releases that tenants of no other use go to and back again: imports done, code compiled."""
    from provisioning.models import Release

    releases = Release.objects.filter(state="published").order_by("published_at").values_list("name", flat=True)
    first, columns, *_data = releases
    return [columns, first]


def rolled_out(asked: dict[str, Any]) -> dict[str, float]:
    """Proposed by one, approved by another, in a canary and two waves."""
    from provisioning import lifecycle
    from provisioning.models import Release
    from tenants.audit import Actor
    from tenants.models import Tenant

    release = Release.objects.get(name=asked["to"])
    canary = list(Tenant.objects.filter(labels__contains=asked["labels"]).values_list("slug", flat=True)[:CANARIES])
    terms = lifecycle.RolloutTerms(
        selection={"labels": asked["labels"]}, canary=canary, waves=WAVES, parallelism=PROCESSES
    )
    proposer, approver = (Actor("user", number, f"Operator {number}") for number in ("1", "2"))
    rollout = lifecycle.propose_rollout(release=release, terms=terms, actor=proposer, key=str(uuid4()))
    before = datetime.now(UTC)
    lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=approver)
    while rollout.state == "running" and datetime.now(UTC) < before + PATIENCE:
        time.sleep(LOOKS_EVERY_S)
        rollout.refresh_from_db(fields=["state", "finished_at", "pause_detail"])
    done = list(rollout.targets.values_list("state", "seconds"))
    errors = list(rollout.targets.exclude(error=None).values_list("error", flat=True)[:3])
    assert rollout.state == "succeeded", (rollout.state, rollout.pause_detail, errors)
    assert rollout.finished_at is not None  # by PostgreSQL's clock, which is this machine's: looking often costs, too
    assert {state for state, _seconds in done} <= {"succeeded"}, errors
    seconds = (rollout.finished_at - before).total_seconds()
    return {"seconds": seconds, "targets": len(done), "replaying": sum(each or 0 for _state, each in done)}


def most_resident(worker: int) -> int:
    """VmHWM of proc_pid_status(5), the most of the worker's processes."""
    children = psutil.Process(worker).children()
    status = [Path(f"/proc/{child.pid}/status").read_text().splitlines() for child in children]
    return max(int(line.split()[1]) for lines in status for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
