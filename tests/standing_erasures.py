"""Erasure requests in every state that a page shows, put there by hand: how they get there is tested elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.utils import timezone

from provisioning import lifecycle
from provisioning.erasure.issuing import issue
from provisioning.models import ErasureCertificate, ErasureRequest, ErasureStore, Recheck
from tenants.actions import Actor
from tenants.models import Tenant
from tests.fleet import BILLING
from tests.provisioning.erasure.test_certificate import LIVE

DANA = lifecycle.ErasureIdentifier("email", "dana.smith@example.org")
COUNTS = {
    "pool_rows": {"projects_project": 48_211, "projects_member": 311, "projects_note": 9_120},
    "bucket": {"t-acme/": 310},
    "cache": {"t:acme:*": 58},
    "control_rows": {"tenants_domain": 1, "provisioning_run": 14},
    "keys": {"data keys": 2},
}
UNKNOWN = {"locator": "celery", "n": None, "quality": "unknown", "action": "expire", "ground": "", "until": None}
KEPT = {
    "locator": "billing_invoice",
    "n": 12,
    "quality": "exact",
    "action": "retain",
    "ground": "§ 147 AO",
    "until": None,
}
BLOCKER = {
    "code": "erasure.unclassified",
    "severity": "error",
    "subject": "pool_rows",
    "message": "Nobody erases public.newsletter_copy.",
    "hint": "Classify it, or sign a waiver for it.",
}


def person(name: str) -> Actor:
    return Actor("user", str(User.objects.get(username=name).pk), name)


def document(*, blockers: Any = ()) -> dict[str, Any]:
    until = (timezone.now() + timedelta(days=30)).isoformat()
    stores: list[dict[str, Any]] = [
        {
            "store": store,
            "tallies": [
                {"locator": place, "n": n, "quality": "exact", "action": "delete", "ground": "", "until": None}
                for place, n in places.items()
            ],
            "covered": len(places),
            "waived": [],
            "residue": [],
        }
        for store, places in COUNTS.items()
    ]
    stores[0]["tallies"].append(KEPT)
    stores[0]["residue"] = [{"what": "base backups and WAL of cluster eu-1 (declared)", "until": until}]
    stores.append({"store": "queues", "tallies": [UNKNOWN], "covered": 1, "waived": [], "residue": []})
    return {
        "v": 1, "request": "r", "scope": {}, "due_at": until, "stores": stores, "catalog": "sha256:5c", "holds": [],
        "blockers": list(blockers),
    }  # fmt: skip


def asked(
    tenant: Tenant, by: Actor = BILLING, *, kind: Any = "tenant", days_ago: int = 3, **more: Any
) -> ErasureRequest:
    wish = lifecycle.ErasureWish(
        kind=kind,
        identifiers=(DANA,) if kind == "subject" else (),
        received_at=timezone.now() - timedelta(days=days_ago),
        **more,
    )
    return lifecycle.request_erasure(tenant=tenant, wish=wish, actor=by, key=str(uuid4()))


def counted(request: ErasureRequest, *, blockers: Any = ()) -> ErasureRequest:
    request.refresh_from_db()
    if request.state == "identifying":
        lifecycle.prove_identity(request, evidence=uuid4(), actor=BILLING, key=str(uuid4()))
    state = "blocked" if blockers else "planning"
    ErasureRequest.objects.filter(pk=request.pk).update(counted=document(blockers=blockers), state=state)
    request.refresh_from_db()
    return request


def proposed(request: ErasureRequest, by: Actor = BILLING) -> ErasureRequest:
    return lifecycle.propose_erasure(counted(request), actor=by, key=str(uuid4()))


def approved(request: ErasureRequest, by: Actor) -> ErasureRequest:
    plan = lifecycle.plan_of_erasure(proposed(request))
    assert plan is not None
    return lifecycle.approve_erasure(request, digest=bytes(plan.digest), actor=by, key=str(uuid4()))


def erasing(request: ErasureRequest, by: Actor, **more: Any) -> ErasureRequest:
    """Half through: some stores are done, one is at work, one does not answer."""
    approved(request, by)
    for number, (store, places) in enumerate(COUNTS.items()):
        planned = sum(places.values())
        ErasureStore.objects.create(
            request=request,
            round=1,
            store=store,
            planned=planned,
            deleted=[planned * 2 // 3, planned, 0, 0, 0][number],
            failed=[{"code": "SERVER_UNAVAILABLE", "severity": "error"}] if store == "cache" else [],
        )
    changes: dict[str, Any] = {"state": "erasing", "round": 1, "tombstone": 1, "destroy_started_at": Now(), **more}
    changes["starts_at"] = timezone.now() - timedelta(hours=1)
    ErasureRequest.objects.filter(pk=request.pk).update(**changes)
    request.refresh_from_db()
    return request


def settling(request: ErasureRequest, by: Actor) -> ErasureRequest:
    """Erased and certified; looked at once since."""
    erasing(request, by)
    for row in request.stores.all():
        ErasureStore.objects.filter(pk=row.pk).update(
            deleted=row.planned, remaining=0, failed=[], verdict="clean", judged_at=Now()
        )
    now = timezone.now()
    for why, days in (("day 1", -1), ("day 7", 6), ("day 30", 29)):
        over = {"verdict": "clean", "done_at": now} if days < 0 else {}
        Recheck.objects.create(request=request, why=why, due_at=now + timedelta(days=days), **over)
    issue(LIVE, request=request.pk, stage=ErasureCertificate.Stage.LIVE, actor=BILLING)
    ErasureRequest.objects.filter(pk=request.pk).update(
        state="settling", settled_at=now, settles_at=now + timedelta(days=30), certificate={}
    )
    request.refresh_from_db()
    return request


def every(tenants: list[Tenant], by: Actor) -> list[ErasureRequest]:
    """One request in each state that has something of its own to show. A tenant has one open whole-tenant request."""
    some = iter(tenants)
    return [
        asked(next(some), kind="subject"),
        counted(asked(next(some)), blockers=[BLOCKER]),
        counted(asked(next(some))),
        proposed(asked(next(some), by), by),
        proposed(asked(next(some), days_ago=29)),
        approved(asked(next(some)), by),
        erasing(asked(next(some)), by, attention="SERVER_UNAVAILABLE"),
        settling(asked(next(some)), by),
        lifecycle.cancel_erasure(asked(next(some)), reason="withdrawn", actor=BILLING, key=str(uuid4())),
    ]
