"""Part of the erasure benchmark: an eraser driven as the workflow drives it, without a request."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4


def erased(store: str, context: Any) -> dict[str, float]:
    """Seconds by the cursor that each chunk began with, "" for none; `deleted` is how many items went.

    The lease is a look at a row, and after each chunk two rows are written, as the engine and the round do.
    """
    from django.db import transaction

    from provisioning.erasure.erasers import ERASERS
    from provisioning.erasure.rounds import CHUNK, SLICE_S
    from provisioning.erasure.stores import Budget, Scope
    from provisioning.models import Run
    from tenants.models import Tenant

    run = Run.objects.filter(tenant=context.tenant_id).latest("created_at")
    eraser = next(each for each in ERASERS if each.store == store)
    scope = Scope("tenant", context.tenant_id, context.incarnation, uuid4())

    def lease() -> None:
        assert Run.objects.filter(pk=run.pk, tenant=context.tenant_id).exists()

    seconds: dict[str, float] = {"deleted": 0}
    before = time.perf_counter()
    eraser.freeze(scope, lease)
    found, cursor, done = eraser.enumerate(scope), None, False
    while not done:
        began_with = cursor or ""
        budget = Budget(items=CHUNK, until=time.monotonic() + SLICE_S)
        progress = eraser.erase(scope, found, cursor, budget, lease)
        assert not progress.failed, progress.failed
        with transaction.atomic():
            Run.objects.filter(pk=run.pk).update(reason=f"{store} {time.monotonic()}")
            Tenant.objects.filter(pk=context.tenant_id).update(labels={"seen": str(time.monotonic())})
        cursor, done = progress.cursor, progress.done
        seconds["deleted"] += progress.deleted
        after = time.perf_counter()
        seconds[began_with] = seconds.get(began_with, 0) + after - before
        before = after
    return seconds
