"""The fleet, or a part of it, as targets: what is to be taken to a release, what is there already, what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import FilteredRelation, Q, QuerySet

from provisioning.rollout.errors import InvalidRollout
from tenants.models import Pool, Tenant
from tenants.states import KEEPS_ROWS, Tier

OF_TENANTS = ("plan", "labels", "slugs")  # these choose tenants, so a pool without tenants is not meant
WORDS = {
    "tier": "place__tier__in",
    "region": "region__in",
    "cluster": "place__cluster__name__in",
    "plan": "plan__name__in",
    "slugs": "slug__in",
}
COLUMNS = ("pk", "slug", "state", "release", "place__tier", "place__cluster_id", "place__pool_id")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One target to be: a tenant with tables of its own, or a pool. `canary` goes first."""

    tenant_id: UUID | None
    pool_id: UUID | None
    cluster_id: UUID
    name: str
    tier: Tier
    release: str
    canary: bool = False

    @property
    def order(self) -> tuple[bool, int]:
        """Canaries, then by id, which is random: so each wave is a fair sample of the fleet."""
        return not self.canary, (self.tenant_id or self.pool_id or UUID(int=0)).int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was chosen, but cannot be a target now, and why."""

    name: str
    cause: str


@dataclass(slots=True)
class Fleet:
    """What a selection comes to. `there` counts the targets that are on the release already."""

    targets: list[Chosen] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    there: int = 0


def checked_selection(selection: Mapping[str, Any]) -> dict[str, Any]:
    """The selection as it may be kept. Raises InvalidRollout."""
    for name, value in selection.items():
        of_words = name in WORDS and isinstance(value, list) and all(isinstance(word, str) for word in value)
        if not of_words and not (name == "labels" and isinstance(value, dict)):
            raise InvalidRollout(
                f"Choose by {', '.join([*WORDS, 'labels'])}: lists of words, and labels as an object.",
                field=f"selection.{name}",
            )
    return dict(selection)


def chosen(selection: Mapping[str, Any], *, release: str, canary: Iterable[str] = ()) -> Fleet:
    """The targets of a selection that are not on `release`, in the order of their turns.

    A pool is one target however many of its tenants were chosen, as its tables are theirs all together; it is a canary
    if one of them is.
    """
    fleet, canaries = Fleet(), {*canary}
    pools: dict[UUID, Chosen] = {}
    for pk, slug, state, on, tier, cluster_id, pool_id in _tenants(selection).values_list(*COLUMNS):
        if pool_id is not None:
            if pool_id not in pools or slug in canaries:
                pools[pool_id] = Chosen(None, pool_id, cluster_id, "", Tier.POOL, "", canary=slug in canaries)
        elif state not in KEEPS_ROWS or cluster_id is None:  # a failed one that was deleted has no tables
            fleet.left_out.append(LeftOut(slug, f"The tenant is {state}."))
        elif on == release:
            fleet.there += 1
        else:
            fleet.targets.append(Chosen(pk, None, cluster_id, slug, Tier(tier), on, canary=slug in canaries))
    _add_pools(fleet, pools, selection, release)
    fleet.targets.sort(key=lambda target: target.order)
    fleet.left_out.sort(key=lambda left: left.name)
    return fleet


def _add_pools(fleet: Fleet, pools: Mapping[UUID, Chosen], selection: Mapping[str, Any], release: str) -> None:
    """Those that chosen tenants live in, and those nobody lives in yet."""
    for pool in _pools(pools, selection).select_related("cluster"):
        name, canary = f"{pool.schema} on {pool.cluster.name}", pool.pk in pools and pools[pool.pk].canary
        if pool.release == release:
            fleet.there += 1
        elif pool.ready_at is None:
            fleet.left_out.append(LeftOut(name, "The pool is not laid out yet."))
        else:
            chosen = Chosen(None, pool.pk, pool.cluster_id, name, Tier.POOL, pool.release, canary=canary)
            fleet.targets.append(chosen)


def _tenants(selection: Mapping[str, Any]) -> QuerySet[Tenant]:
    """Each with its active placement, if it has one."""
    tenants = Tenant.objects.annotate(place=FilteredRelation("placements", condition=Q(placements__active=True)))
    tenants = tenants.filter(**{WORDS[name]: words for name, words in selection.items() if name in WORDS})
    if selection.get("labels"):
        tenants = tenants.filter(labels__contains=selection["labels"])
    found: QuerySet[Tenant] = tenants
    return found


def _pools(pools: Mapping[UUID, Chosen], selection: Mapping[str, Any]) -> QuerySet[Pool]:
    meant = Q(pk__in=list(pools))
    if not any(selection.get(name) for name in OF_TENANTS) and Tier.POOL in selection.get("tier", [Tier.POOL]):
        places = {"cluster__name__in": selection.get("cluster"), "cluster__region__in": selection.get("region")}
        meant |= Q(placed=0, **{name: words for name, words in places.items() if words is not None})
    return Pool.objects.filter(meant)
