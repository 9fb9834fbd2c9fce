"""One example of each thing that is about erasures, for the OpenAPI document. A test holds them to their schemas."""

from __future__ import annotations

from typing import Any

_ID = "0198c1f2d4b07e5590f1c2d3e4a5b6c7"
_ALICE, _BOB = "4e1f7c52-8f0b-4f0e-9d55-6f6d2a7f3c11", "c07f2b8e-53a1-4f4a-8a52-0f7b7d9e2a64"
_DIGEST = "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa"

_SUMMARY: dict[str, Any] = {
    "id": f"ers_{_ID}",
    "object": "erasure_request",
    "scope": "tenant",
    "tenant": "ten_0198c1f2a7e07c3e9b1d5a4c8e2f6b70",
    "state": "erasing",
    "state_since": "2026-11-21T08:50:00Z",
    "version": 9,
    "basis": "contract_end",
    "policy": "eu",
    "identifier_kinds": [],
    "received_at": "2026-11-02T10:00:00Z",
    "due_at": "2026-12-03T00:00:00Z",
    "extended_until": None,
    "extension_reason": None,
    "grace_s": 604800,
    "starts_at": "2026-11-20T08:00:00Z",
    "attention": None,
    "reason": None,
    "requested_by": _ALICE,
    "plan_digest": _DIGEST,
    "merged_into": None,
    "follows": None,
    "operation": "op_0198c1f2b1c47d10a3f09e6d5b7c8a21",
    "retained_items": 0,
    "actions": ["extend"],
    "created_at": "2026-11-02T10:00:03Z",
    "destroy_started_at": "2026-11-21T08:50:00Z",
    "settled_at": None,
    "settles_at": None,
    "finished_at": None,
}
ERASURE: dict[str, Any] = {
    **_SUMMARY,
    "latest_start_at": "2026-11-28T00:00:00Z",
    "at_risk": False,
    "overdue": False,
    "proposed_by": _ALICE,
    "proposed_at": "2026-11-12T16:20:00Z",
    "approved_by": _BOB,
    "approved_at": "2026-11-13T08:00:00Z",
    "stores": [
        {
            "store": "pool_rows",
            "planned": 48211,
            "deleted": 31000,
            "absent": 0,
            "retained": 0,
            "remaining": None,
            "failed": [],
            "verdict": None,
            "judged_at": None,
        }
    ],
    "holds": [],
    "rechecks": [],
}
ERASURE_PLAN: dict[str, Any] = {
    "object": "erasure_plan",
    "frozen": True,
    "digest": _DIGEST,
    "proposed_by": _ALICE,
    "proposed_at": "2026-11-12T16:20:00Z",
    "stores": [
        {
            "store": "pool_rows",
            "tallies": [
                {
                    "locator": "projects_project",
                    "n": 48211,
                    "quality": "exact",
                    "action": "delete",
                    "ground": "",
                    "until": None,
                }
            ],
            "covered": 52,
            "waived": [],
            "residue": [{"what": "base backups and WAL of cluster eu-1 (declared)", "until": "2026-12-21T00:00:00Z"}],
        }
    ],
    "holds": [],
    "blockers": [],
    "catalog": _DIGEST,
}
RECORD_HOLD: dict[str, Any] = {
    "id": "0198c1f2-e5b1-7c07-9a3f-1d2c3b4a5968",
    "store": "pool_rows",
    "locator": "eu-1:tenure_cluster/pool_1.billing_invoice",
    "record": "4711",
    "ground": "§ 147 AO",
    "review_at": "2036-12-31T00:00:00Z",
    "archived": 1,
    "released_at": None,
}
ERASURE_EXAMPLES: dict[str, dict[str, Any]] = {
    "Erasure": ERASURE,
    "ErasureOrPlan": ERASURE,
    "ErasurePage": {"results": [_SUMMARY], "next": None, "previous": None},
    "ErasurePlan": ERASURE_PLAN,
    "RecordHold": RECORD_HOLD,
    "RecordHoldPage": {"results": [RECORD_HOLD], "next": None, "previous": None},
}
