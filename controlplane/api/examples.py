"""One example of each thing the API answers with, for the OpenAPI document. A test holds them to their schemas."""

from __future__ import annotations

from typing import Any

from controlplane.api.erasure_examples import ERASURE_EXAMPLES
from controlplane.api.rollout_examples import ROLLOUT_EXAMPLES

_ID = "0198c1f2a7e07c3e9b1d5a4c8e2f6b70"
_OPERATION_ID = "0198c1f2b1c47d10a3f09e6d5b7c8a21"

TENANT: dict[str, Any] = {
    "id": f"ten_{_ID}",
    "object": "tenant",
    "slug": "acme",
    "name": "Acme GmbH",
    "external_ref": "crm-4711",
    "plan": "standard",
    "region": "eu-central",
    "labels": {"team": "north"},
    "incarnation": "0d9a6f1c-52c3-4d7e-9a47-3c1f6f0b2e11",
    "version": 2,
    "state": "active",
    "state_since": "2026-11-20T09:14:03Z",
    "health": "ok",
    "placement": {"tier": "schema", "cluster": "eu-1", "pool": None, "since": "2026-11-20T09:14:02Z"},
    "release": {"current": "2026.11.2", "target": "2026.11.3", "behind": 1},
    "deletion_protection": False,
    "delete_reason": "",
    "purge_at": None,
    "holds": 0,
    "scheduled_suspension_at": None,
    "scheduled_deletion_at": None,
    "operation": None,
    "actions": ["credentials", "rotate_credentials", "suspend", "delete", "export"],
    "created_at": "2026-11-20T09:14:02Z",
    "updated_at": "2026-11-20T09:14:03Z",
}
OPERATION: dict[str, Any] = {
    "id": f"op_{_OPERATION_ID}",
    "object": "operation",
    "type": "tenant.onboard",
    "target": f"/api/v1/tenants/ten_{_ID}",
    "workflow_version": 1,
    "state": "running",
    "direction": "do",
    "control": None,
    "done": False,
    "stalled": False,
    "created_at": "2026-11-20T09:14:02.120000Z",
    "started_at": "2026-11-20T09:14:02.160000Z",
    "finished_at": None,
    "deadline_at": "2026-11-20T10:14:02Z",
    "next_attempt_at": None,
    "progress": {
        "completed": 1,
        "total": 2,
        "unit": "steps",
        "phase": "activate",
        "updated_at": "2026-11-20T09:14:02.200000Z",
    },
    "steps": [
        {
            "name": "create database",
            "direction": "do",
            "state": "succeeded",
            "attempts": 1,
            "crashes": 0,
            "skippable": False,
            "pivot": False,
            "started_at": "2026-11-20T09:14:02.160000Z",
            "finished_at": "2026-11-20T09:14:02.200000Z",
            "detail": None,
        },
        {
            "name": "activate",
            "direction": "do",
            "state": "started",
            "attempts": 0,
            "crashes": 0,
            "skippable": False,
            "pivot": True,
            "started_at": "2026-11-20T09:14:02.200000Z",
            "finished_at": None,
            "detail": None,
        },
    ],
    "result": None,
    "error": None,
    "blocked_by": None,
    "actions": ["pause"],
    "requested_by": {"kind": "api_key", "id": "key_0198c0aa51d27c1f8b0e6f3d2a194c77", "name": "billing"},
    "reason": None,
    "request_id": "0198c1f2-b1c4-7d10-a3f0-9e6d5b7c8a21",
}
VERB_PLAN: dict[str, Any] = {
    "object": "plan",
    "verb": "tenant.onboard",
    "steps": ["create database", "activate"],
    "creates": ["schema t_<id> on eu-1"],
    "removes": [],
    "pivot": "activate",
    "blockers": [
        {
            "code": "NO_CAPACITY",
            "severity": "error",
            "subject": "acme",
            "message": "No cluster of region eu-central can take a tenant: eu-1 is full.",
            "hint": "Register another cluster, raise a capacity, or open a closed one; then ask again.",
        }
    ],
    "estimate": {"p50_s": 0.6, "p95_s": 1.4, "samples": 37},
    "digest": "sha256:5c1aa68fa672f0b75638586908351a728969b9aa674309b3b513c965a0a616fa",
}
CREDENTIALS: dict[str, Any] = {
    "database": {
        "host": "eu-1.example",
        "port": 5432,
        "name": "tenure",
        "user": f"t_{_ID}",
        "schema": f"t_{_ID}",
        "password": "(shown here only)",
        "context_key": None,
        "url": f"host=eu-1.example port=5432 dbname=tenure user=t_{_ID} password='…'",
    },
    "storage": {
        "endpoint_url": None,
        "region": "eu-central-1",
        "bucket": f"t-{_ID}",
        "prefix": "",
        "access_key_id": "ASIA…",
        "secret_access_key": "(shown here only)",
        "session_token": "(shown here only)",
        "expires_at": "2026-11-20T10:14:03Z",
    },
}
DATA_KEYS: dict[str, Any] = {
    "keys": [{"id": "3b0c8f0e-6a2f-4a55-9a3b-5f0c6f1d2e31", "state": "active", "key": "(shown here only)"}],
    "index_key": {"id": "b1f6a0f4-52f7-4f0e-8a56-2f6f6f9f0c12", "state": "active", "key": "(shown here only)"},
}
TOKEN: dict[str, Any] = {
    "access_token": "(shown here only)",
    "token_type": "Bearer",
    "expires_in": 900,
    "expires_at": "2026-11-20T09:29:03Z",
    "jti": "5d4c2a7e-9b1f-4c0d-8e3a-1f2b3c4d5e6f",
}
SCHEDULE: dict[str, Any] = {
    "id": "sch_0198c1f2c0a97d4fb1d05b6e7c8a9d10",
    "verb": "suspend",
    "at": "2027-02-01T06:00:00Z",
    "state": "waiting",
    "reason": "Invoice 4711 is unpaid.",
    "note": "",
    "operation": None,
    "created_at": "2026-11-20T09:14:02Z",
    "settled_at": None,
}
HOLD: dict[str, Any] = {
    "id": "hld_0198c1f2c0a97d4fb1d05b6e7c8a9d11",
    "ground": "Tax audit 2026, § 147 AO",
    "review_on": "2027-06-30",
    "created_at": "2026-11-20T09:14:02Z",
    "released_at": None,
    "release_reason": "",
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "Tenant": TENANT,
    "TenantPage": {"results": [TENANT], "next": None, "previous": None},
    "Operation": OPERATION,
    "OperationOrPlan": OPERATION,
    "OperationPage": {"results": [OPERATION], "next": None, "previous": None},
    "ChangedOrPlan": TENANT,
    "Accepted": {"operation": OPERATION, "tenant": {**TENANT, "version": 1, "state": "provisioning", "actions": []}},
    "VerbPlan": VERB_PLAN,
    "Credentials": CREDENTIALS,
    "DataKeys": DATA_KEYS,
    "Token": TOKEN,
    "Schedule": SCHEDULE,
    "SchedulePage": {"results": [SCHEDULE], "next": None, "previous": None},
    "Hold": HOLD,
    "LegalHoldPage": {"results": [HOLD], "next": None, "previous": None},
    **ROLLOUT_EXAMPLES,
    **ERASURE_EXAMPLES,
}
"""By the name of the schema in the document."""
