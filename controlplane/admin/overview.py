"""The first page: how the fleet stands, what is at work, what needs a person; before the first tenant, a checklist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from redis.exceptions import RedisError

from controlplane.admin import live, rollout_live
from controlplane.admin.erasures import DUE, SHOW
from controlplane.admin.findings import findings
from controlplane.admin.labels import Label, label, worst
from controlplane.admin.rollouts import with_counts
from provisioning.models import (
    ErasureRequest,
    Queue,
    QueuePulse,
    Release,
    Rollout,
    RolloutState,
    Run,
    RunState,
)
from tenants.models import Cluster, Placement, Tenant
from tenants.states import TenantState, Tier

RECENT = timedelta(hours=24)
SHOWN = 8  # rows per list; the rest is a link away


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the fleet table, with the list it counts."""

    number: int
    url: str
    worst: Label | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When somebody last looked for work of a queue."""

    queue: str
    looked_at: datetime | None
    silent: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One measured line of the first-run checklist. `state` is a key of the label map; `cure` is a command."""

    what: str
    state: str
    detail: str
    cure: str = ""
    url: str = ""


def fleet() -> dict[str, Any]:
    """Tenants by state and tier, and by region and tier: two small tables from one query."""
    placed = Placement.objects.filter(tenant=OuterRef("pk"), active=True).values("tier")[:1]
    counts = Tenant.objects.order_by().annotate(tier=Subquery(placed)).values("state", "region", "tier")
    rows = list(counts.annotate(n=Count("pk")))
    tiers = [*Tier.values, None]
    if not any(row["tier"] is None for row in rows):
        tiers.remove(None)
    by_state = [
        (state, [_cell(rows, tier, state=state) for tier in tiers], _cell(rows, ..., state=state))
        for state in TenantState.values
        if any(row["state"] == state for row in rows)
    ]
    regions = sorted({row["region"] for row in rows})
    by_region = [
        (region, [_cell(rows, tier, region=region) for tier in tiers], _cell(rows, ..., region=region))
        for region in regions
    ]
    totals = [_cell(rows, tier) for tier in tiers], _cell(rows, ...)
    return {"tiers": tiers, "by_state": by_state, "by_region": by_region, "totals": totals}


def _cell(rows: list[dict[str, Any]], tier: Any, **of: str) -> Cell:
    """`tier` is a tier, None for tenants without a place, or ... for all."""
    inside = [row for row in rows if (tier is ... or row["tier"] == tier) and all(row[k] == v for k, v in of.items())]
    query = [f"{'state__exact' if name == 'state' else name}={value}" for name, value in of.items()]
    query += [] if tier is ... else [f"tier={tier or 'none'}"]
    url = reverse("admin:tenants_tenant_changelist") + ("?" + "&".join(query) if query else "")
    return Cell(
        number=sum(row["n"] for row in inside), url=url, worst=worst([label("tenant", row["state"]) for row in inside])
    )


def operations() -> dict[str, Any]:
    """What is at work, what needs a person, and what failed in the last day."""
    runs = Run.objects.select_related("tenant").filter(parent=None)
    since = timezone.now() - RECENT
    lists = {
        "attention": runs.filter(Q(state__in=[RunState.PARKED, RunState.PAUSED]) | Q(deadline_at__lt=Now())),
        "at_work": runs.filter(state__in=[RunState.QUEUED, RunState.RUNNING], deadline_at__gte=Now()),
        "ended_badly": runs.filter(state__in=[RunState.FAILED, RunState.CANCELLED], finished_at__gt=since),
    }
    counts = Run.objects.filter(parent=None).aggregate(
        queued=Count("pk", filter=Q(state=RunState.QUEUED)),
        running=Count("pk", filter=Q(state=RunState.RUNNING)),
        paused=Count("pk", filter=Q(state=RunState.PAUSED)),
        parked=Count("pk", filter=Q(state=RunState.PARKED)),
        failed=Count("pk", filter=Q(state=RunState.FAILED, finished_at__gt=since)),
        succeeded=Count("pk", filter=Q(state=RunState.SUCCEEDED, finished_at__gt=since)),
    )
    order = {"attention": "deadline_at", "at_work": "created_at", "ended_badly": "-finished_at"}
    shown = {
        name: [(run, live.state_of(run)) for run in rows.order_by(order[name])[:SHOWN]] for name, rows in lists.items()
    }
    return {"counts": counts, **shown}


def heartbeats() -> list[Heartbeat]:
    """One line a queue, also for a queue that nobody ever looked at."""
    known = dict(QueuePulse.objects.values_list("queue", "looked_at"))
    now = timezone.now()
    return [
        Heartbeat(queue, known.get(queue), silent=queue not in known or now - known[queue] > live.SILENCE)
        for queue in Queue.values
    ]


def releases() -> list[dict[str, Any]]:
    """How the fleet spreads over releases, the newest first; tenants on none are those not yet active."""
    counts = dict(Tenant.objects.values_list("release").annotate(n=Count("pk")).order_by())
    total = sum(counts.values()) or 1
    known = (
        Release.objects.filter(state=Release.State.PUBLISHED).order_by("-published_at").values_list("name", "current")
    )
    rows = [{"name": name, "current": current, "number": counts.pop(name, 0)} for name, current in known]
    rows = [row for row in rows if row["number"] or row["current"]]
    if nowhere := counts.pop("", 0):
        rows.append({"name": "", "current": False, "number": nowhere})
    return [{**row, "share": row["number"] / total} for row in rows]


def rollouts() -> list[dict[str, Any]]:
    """Those that are not over, the latest first. The progress is of targets."""
    rows = with_counts(Rollout.objects.filter(finished_at=None)).order_by("-created_at")[:SHOWN]
    return [
        {
            "url": reverse("admin:provisioning_rollout_change", args=[row.pk]),
            "name": row.release.name,
            "state": rollout_live.state_of(row, row.as_of),  # type: ignore[attr-defined]  # annotated
            "wave": "" if row.state == RolloutState.DRAFT else rollout_live.wave_of(row),
            **{name: getattr(row, name) for name in ("over", "all_targets", "failed_now")},
        }
        for row in rows
    ]


def erasures() -> dict[str, int]:
    """How many requests are open, and how many of those need a person, and how soon."""
    shown = {name: Count("pk", filter=SHOW[name]) for name in ("open", "overdue", "attention", "approval")}
    return ErasureRequest.objects.annotate(due=DUE).aggregate(**shown)


def clusters() -> list[dict[str, Any]]:
    """How full each cluster is."""
    rows = Cluster.objects.annotate(n=Count("placements", filter=Q(placements__active=True))).order_by("name")[:12]
    return [
        {"cluster": row, "number": row.n, "share": min(row.n / row.capacity, 1) if row.capacity else 1} for row in rows
    ]


def overview(request: HttpRequest) -> dict[str, Any]:
    """Everything that the overview shows, or the checklist while there is no tenant."""
    if not request.user.has_perm("tenants.view_tenant"):
        return {"allowed": False}
    if not Tenant.objects.exists():
        return {"allowed": True, "checks": list(checks(request))}
    may_runs = request.user.has_perm("provisioning.view_run")
    return {
        "allowed": True,
        "fleet": fleet(),
        "operations": operations() if may_runs else None,
        "findings": findings(),
        "heartbeats": heartbeats(),
        "releases": releases(),
        "rollouts": rollouts() if request.user.has_perm("provisioning.view_rollout") else None,
        "erasures": erasures() if request.user.has_perm("provisioning.view_erasurerequest") else None,
        "clusters": clusters(),
        "as_of": timezone.now(),
    }


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the top of the page, with the list it counts."""

    number: int
    word: str
    tone: str
    url: str


def tiles(counts: dict[str, int]) -> list[Tile]:
    """Operations in numbers: what needs a person first."""
    url = reverse("admin:provisioning_run_changelist")
    lines = (
        ("parked", "parked", "run", "parked"),
        ("paused", "paused", "run", "paused"),
        ("running", "running", "run", "running"),
        ("queued", "queued", "run", "queued"),
        ("failed", "failed in 24 h", "run", "failed"),
        ("succeeded", "done in 24 h", "run", "succeeded"),
    )
    return [
        Tile(counts[name], word, label(kind, state).tone, f"{url}?state__exact={state}")
        for name, word, kind, state in lines
    ]


def token_of(shown: dict[str, Any]) -> str:
    """A hash of what the overview shows, without its clock."""
    return sha256(repr({key: value for key, value in shown.items() if key != "as_of"}).encode()).hexdigest()[:16]


# --- before the first tenant -----------------------------------------------------------------------------------------


def checks(request: HttpRequest) -> Iterator[Check]:
    """Each line is measured as the page is made, with timeouts of two seconds at most."""
    yield _measured("PostgreSQL answers", _postgres, "See logs/postgres.log in the data folder, or DATABASE_URL.")
    yield _measured("Valkey answers", _valkey, "See logs/valkey.log in the data folder, or CACHE_URL.")
    yield _measured("The object store answers", _object_store, "See logs/object-store.log, or S3_ENDPOINT_URL.")
    beats = heartbeats()
    queue = next(beat for beat in beats if beat.queue == Queue.OPERATIONS)
    seen = (
        f"last looked for work at {queue.looked_at:%H:%M:%S} UTC"
        if queue.looked_at
        else "none has ever looked for work"
    )
    yield Check("A worker claims work", "no" if queue.silent else "yes", seen, "make run")
    current = Release.objects.filter(current=True).first()
    yield Check(
        "A release is published",
        "yes" if current else "no",
        current.name if current else "nothing to copy tenants from",
        "python manage.py publish_release",
    )
    room = sum(max(row["cluster"].capacity - row["number"], 0) for row in clusters() if row["cluster"].state == "open")
    yield Check("A cluster has room", "yes" if room else "no", f"room for {room} tenants", "make run")
    url = reverse("admin:tenants_tenant_onboard") if request.user.has_perm("tenants.operate_tenant") else ""
    yield Check("A first tenant", "no", "none yet", url=url)


def _measured(what: str, measure: Callable[[], str], cure: str) -> Check:
    try:
        return Check(what, "yes", measure())
    except (RedisError, BotoCoreError, ClientError, OSError) as error:
        return Check(what, "no", f"{type(error).__name__}: {str(error)[:120]}", cure)


def _postgres() -> str:
    version = connection.cursor().connection.info.server_version
    return f"version {version // 10_000}.{version % 10_000}"


def _valkey() -> str:
    cache.get("tenure:checklist")
    return "the cache can be read"


def _object_store() -> str:
    patient = Config(connect_timeout=2, read_timeout=2, retries={"max_attempts": 1})
    boto3.client("s3", endpoint_url=settings.S3_ENDPOINT_URL, config=patient).list_buckets()
    return settings.S3_ENDPOINT_URL or "AWS"
