"""Accept many tenants in one transaction: what a billing export asks for costs a tenth so, and changes nothing else.

Each row is the one that `lifecycle.onboard` writes for a tenant alone; they are only written side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from django.db import IntegrityError, transaction

from provisioning.databases.clusters import NoRelease, reserve_together
from provisioning.databases.releases import has_current
from provisioning.engine.start import Start, start_together
from provisioning.models import Run
from provisioning.workflows.accepting import lock_of, new_tenant
from provisioning.workflows.onboard import ONBOARD, OnboardInput
from provisioning.workflows.wishes import CheckedWish, TenantExists, TenantWish, checked, offer
from tenants import audit, events
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.events import EventType
from tenants.models import Placement, Tenant


def onboard_together(wishes: Sequence[TenantWish], *, actor: Actor) -> list[Run]:
    """Accept all of these tenants, or none. A wish's digest is its key, and none may have been accepted before.

    Returns their runs in order. Raises what `lifecycle.onboard` raises for one of them, without saying which.
    """
    offered = offer()
    asked = [checked(wish, offered) for wish in wishes]
    if not has_current():
        raise NoRelease
    try:
        with transaction.atomic():
            tenants = Tenant.objects.bulk_create([new_tenant(each) for each in asked])
            _reserve(asked, tenants)
            events.record_together(EventType.TENANT_CREATED, tenant_ids=[tenant.pk for tenant in tenants])
            runs = start_together(ONBOARD, _starts(asked, tenants), actor=actor)
            audit.write_together(
                audit.Entry(
                    AuditAction.TENANT_CREATED,
                    actor=actor,
                    object=(ObjectType.TENANT, tenant.pk),
                    tenant=tenant.pk,
                    operation=run.pk,
                )
                for tenant, run in zip(tenants, runs, strict=True)
            )
            return runs
    except IntegrityError as error:
        raise TenantExists("One of these tenants, or its key, exists already.") from error


def _reserve(asked: Sequence[CheckedWish], tenants: Sequence[Tenant]) -> None:
    """Places, for all of one region and tier together."""

    def place(pair: tuple[CheckedWish, Tenant]) -> tuple[str, str]:
        return pair[0].region, pair[0].tier

    for (_region, _tier), group in groupby(sorted(zip(asked, tenants, strict=True), key=place), key=place):
        pairs = list(group)
        reserve_together([tenant for _asked, tenant in pairs], pairs[0][0].tier)


def _starts(asked: Sequence[CheckedWish], tenants: Sequence[Tenant]) -> list[Start]:
    placed = Placement.objects.filter(tenant__in=tenants, active=True).values_list("tenant_id", "cluster__name")
    clusters = dict(placed)
    return [
        Start(
            input=OnboardInput(
                tenant_id=tenant.pk, incarnation=tenant.incarnation, tier=each.tier, wish=each.wish.digest
            ),
            key=each.wish.digest,
            tenant_id=tenant.pk,
            lock_key=lock_of(tenant),
            limit_key=f"cluster:{clusters[tenant.pk]}",
        )
        for each, tenant in zip(asked, tenants, strict=True)
    ]
