"""A deleted tenant whose days are over is erased like any other: by a request that two people put through.

Nobody asked for it but a date, so the sweeper is who requested it. Undeleted in time, it is called off.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef

from provisioning.engine.sweep import SWEEPER
from provisioning.erasure.acting import VERBS
from provisioning.erasure.verbs import ErasureWish, cancel_erasure, request_erasure
from provisioning.models import ENDED_REQUESTS, Basis, DeadlinePolicy, ErasureKind, ErasureRequest, ErasureState
from provisioning.workflows.leaving import tenants_due_for_purge
from tenants.states import TenantState

MOST_AT_ONCE = 20  # of one pass; the next comes in 5 s
KEPT = (TenantState.DELETED, TenantState.ERASING, TenantState.ERASED)


def request_purges() -> None:
    """Open what is due and not open yet, and call off what was undeleted since. Any number of copies may run."""
    open_ones = ErasureRequest.objects.filter(kind=ErasureKind.TENANT).exclude(state__in=ENDED_REQUESTS)
    asked = open_ones.filter(tenant=OuterRef("pk"))
    for tenant in tenants_due_for_purge().exclude(Exists(asked))[:MOST_AT_ONCE]:
        wish = ErasureWish("tenant", Basis.CONTRACT_END, DeadlinePolicy.CONTRACT, grace=timedelta(0))
        # A tenant may be deleted, undeleted and deleted again: each has its own request.
        request_erasure(
            tenant=tenant, wish=wish, actor=SWEEPER, key=f"purge:{tenant.pk}:{tenant.purge_at:%Y%m%d%H%M%S}"
        )
    waiting = open_ones.filter(caller=str(SWEEPER), state__in=VERBS["cancel"] - {ErasureState.FREEZING})
    for request in waiting.exclude(tenant__state__in=KEPT)[:MOST_AT_ONCE]:
        cancel_erasure(request, reason="withdrawn", actor=SWEEPER, key=f"undeleted:{request.pk}")
