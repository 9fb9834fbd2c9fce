"""What a person at a terminal names: releases by name, rollouts by id, targets by slug, id or pool."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from provisioning.databases.releases import TEXTS
from provisioning.models import Release, Rollout, RolloutTarget
from tenants.errors import TenureError


class NotThere(TenureError):
    """There is no such thing."""

    code = "NOT_FOUND"
    cure = "Check how it is spelt."


def release_named(name: str) -> Release:
    """Raises NotThere, which names the latest releases."""
    published = Release.objects.filter(state=Release.State.PUBLISHED)
    release = published.defer(*TEXTS).filter(name=name).first()
    if release is None:
        known = published.order_by("-published_at").values_list("name", flat=True)[:5]
        raise NotThere(f"There is no published release {name!r}.", cure=f"The latest are: {', '.join(known)}.")
    return release


def rollout_named(text: str) -> Rollout:
    """By public id. Raises NotThere."""
    digits = text.removeprefix("rol_")
    try:
        found = Rollout.objects.select_related("release").filter(pk=UUID(digits)).first()
    except ValueError:
        found = None
    if found is None:
        raise NotThere(f"There is no rollout {text!r}.", cure="`manage.py rollout list` lists them.")
    return found


def target_named(rollout: Rollout, text: str) -> RolloutTarget:
    """A tenant by slug or `ten_…`, a pool by its name, with `@cluster` where several have it. Raises NotThere."""
    name, _, cluster = text.partition("@")
    meant = Q(tenant__slug=text) | Q(pool__schema=name, **({"cluster__name": cluster} if cluster else {}))
    if name.startswith("ten_"):
        try:
            meant = Q(tenant=UUID(name.removeprefix("ten_")))
        except ValueError:
            meant = Q(pk=None)
    found = list(rollout.targets.select_related("rollout", "tenant", "pool").filter(meant)[:2])
    if len(found) != 1:
        trouble = "several targets" if found else "no target"
        raise NotThere(f"{rollout.public_id} has {trouble} {text!r}.", cure="A pool is named as in pool_1@cluster.")
    return found[0]
