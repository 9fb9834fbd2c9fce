"""One example of each thing that is about rollouts, for the OpenAPI document. A test holds them to their schemas."""

from __future__ import annotations

from typing import Any

_ID = "0198c1f2c0de7a11b2c3d4e5f6071829"
_STATEMENT = "ALTER TABLE projects_project ADD COLUMN size integer DEFAULT 0 NOT NULL"

ROLLOUT_PLAN: dict[str, Any] = {
    "object": "rollout_plan",
    "release": "2026.11.3",
    "targets": 46,
    "there": 2,
    "waves": [
        {"wave": 0, "targets": {"schema": 1}},
        {"wave": 1, "targets": {"pool": 1, "schema": 4}},
        {"wave": 2, "targets": {"database": 8, "schema": 32}},
    ],
    "paths": [
        {
            "source": "2026.11.2",
            "pooled": False,
            "targets": 45,
            "migrations": [
                {
                    "migration": "projects.0005_size",
                    "atomic": True,
                    "statements": [_STATEMENT],
                    "data": [],
                    "locks": [
                        {
                            "table": "projects_project",
                            "lock": "ACCESS EXCLUSIVE",
                            "rewrites": False,
                            "scans": False,
                            "why": "A column with a constant default.",
                        }
                    ],
                }
            ],
            "refusals": [],
        }
    ],
    "left_out": [{"name": "globex", "cause": "The tenant is provisioning."}],
    "left_out_count": 1,
    "older": [],
    "estimate_s": None,
    "digest": "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa",
}
_SUMMARY: dict[str, Any] = {
    "id": f"rol_{_ID}",
    "object": "rollout",
    "release": "2026.11.3",
    "state": "paused",
    "pause_reason": "error_budget",
    "pause_detail": "1 targets failed; the budget is 0.",
    "wave": 1,
    "last_wave": 2,
    "counts": {
        "targets": 46,
        "waiting": 41,
        "running": 0,
        "succeeded": 4,
        "failed": 1,
        "skipped": 0,
        "late": 0,
    },
    "proposed_by": {"kind": "principal", "id": "releases", "name": "releases"},
    "approved_by": {"kind": "user", "id": "5", "name": "mara"},
    "single_operator": False,
    "version": 4,
    "actions": ["resume", "cancel", "retry_failed", "skip_target"],
    "created_at": "2026-11-21T08:02:11Z",
    "approved_at": "2026-11-21T08:20:40Z",
    "started_at": "2026-11-21T08:20:41Z",
    "finished_at": None,
}
ROLLOUT: dict[str, Any] = {
    **_SUMMARY,
    "filter": {"region": ["eu-central"]},
    "canary": ["acme"],
    "waves": [{"count": 5}, {"percent": 100}],
    "parallelism": 2,
    "max_failures": {"count": 0},
    "lock_timeout_s": 2.0,
    "starts_at": None,
    "window": {"days": ["sat", "sun"], "from": "22:00", "to": "04:00"},
    "progress": [
        {"targets": 1, "waiting": 0, "running": 0, "succeeded": 1, "failed": 0, "skipped": 0, "late": 0, "wave": 0},
        {"targets": 5, "waiting": 1, "running": 0, "succeeded": 3, "failed": 1, "skipped": 0, "late": 0, "wave": 1},
        {"targets": 40, "waiting": 40, "running": 0, "succeeded": 0, "failed": 0, "skipped": 0, "late": 0, "wave": 2},
    ],
    "failures": [
        {
            "class": "lock timeout",
            "code": "LOCK_TIMEOUT",
            "detail": "canceling statement due to lock timeout",
            "statement": _STATEMENT,
            "migration": "projects.0005_size",
            "hint": "Find who holds the table, end that, then retry.",
            "targets": 1,
        }
    ],
    "budget": {
        "failed": 1,
        "count": 0,
        "failed_in_wave": 1,
        "wave_targets": 5,
        "percent": None,
        "classes": [{"class": "lock timeout", "failed": 1, "most": None}],
    },
    "eta": None,
    "operation": "op_0198c1f2b1c47d10a3f09e6d5b7c8a21",
    "reason": None,
    "plan": ROLLOUT_PLAN,
}
ROLLOUT_TARGET: dict[str, Any] = {
    "id": "ten_0198c1f2a7e07c3e9b1d5a4c8e2f6b70",
    "object": "rollout_target",
    "name": "acme",
    "cluster": "eu-1",
    "source": "2026.11.2",
    "wave": 0,
    "late": False,
    "state": "succeeded",
    "attempts": 1,
    "next_attempt_at": None,
    "blocked_by": None,
    "error": None,
    "reason": None,
    "duration_s": 0.011,
    "started_at": "2026-11-21T08:20:41Z",
    "finished_at": "2026-11-21T08:20:41Z",
}
ROLLOUT_EXAMPLES: dict[str, dict[str, Any]] = {
    "Rollout": ROLLOUT,
    "RolloutOrPlan": ROLLOUT,
    "ApprovedOrPlan": {**ROLLOUT, "state": "running", "pause_reason": None, "pause_detail": None},
    "RolloutPage": {"results": [_SUMMARY], "next": None, "previous": None},
    "RolloutPlan": ROLLOUT_PLAN,
    "RolloutTargetPage": {"results": [ROLLOUT_TARGET], "next": None, "previous": None},
    "TargetOrPlan": {**ROLLOUT_TARGET, "state": "skipped", "reason": "It is leaving."},
}
"""By the name of the schema in the document."""
