"""A store of the tests' own: rows in a list, an eraser, a verifier, and ways to break either."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from django.utils import timezone
from psycopg.conninfo import conninfo_to_dict

from provisioning.databases.servers import sealed_url
from provisioning.engine import drive
from provisioning.erasure import verbs
from provisioning.erasure.registry import Registry
from provisioning.erasure.stores import (
    Budget,
    Control,
    Coverage,
    Enumeration,
    Identifier,
    Kind,
    Lease,
    Progress,
    Residue,
    Scope,
    Tally,
)
from provisioning.errors import Transient
from provisioning.models import ErasureRequest, ErasureState, Queue, Run
from provisioning.workflows.erase import erasing
from provisioning.workflows.erase_looks import looks
from provisioning.workflows.erase_sweep import Erasing, sweep_erasures
from tenants.actions import Actor
from tenants.findings import Finding
from tenants.models import Cluster, Placement, Plan, Tenant
from tenants.placement import tenant_key
from tenants.states import Tier

PROVED: dict[str, Any] = {
    "needles": {"searched": 0, "places": 0, "hits": 0},
    "collateral": {"control_tenant_equal": True, "others_present": True},
    "keys": {"destroyed_at": None},
    "audit": {"chain": "9a77", "size": 1, "head": "77", "checkpoint": 1, "verdict": "clean"},
}
BOTH: frozenset[Kind] = frozenset({"tenant", "subject"})
ALICE = Actor("user", "5", "alice")
BOB = Actor("user", "6", "bob")
MAIL = Identifier("email", "Dana.Smith@example.org")


@dataclass
class Shelf:
    """What both halves look at: how many items are on it, and how many of them a law keeps."""

    store: str = "shelf"
    items: int = 5
    retained: int = 0
    places: list[str] = field(default_factory=lambda: ["shelf.top"])
    unclassified: list[str] = field(default_factory=list)
    blockers: list[Finding] = field(default_factory=list)
    control: bool = True
    away: int = 0  # how many calls of the eraser fail
    comes_back: int = 0  # how many items a late writer puts there, each time the eraser has come to its end
    stuck: bool = False  # the eraser says done, and deletes nothing
    calls: list[str] = field(default_factory=list)
    seen: list[tuple[str, ...]] = field(default_factory=list)


@dataclass
class ShelfEraser:
    shelf: Shelf
    phase: int = 5
    store: str = ""
    scopes: frozenset[Kind] = BOTH
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"
    spares_held: bool = True

    def __post_init__(self) -> None:
        self.store = self.shelf.store

    def freeze(self, scope: Scope, lease: Lease) -> None:
        self.shelf.calls.append("freeze")

    def enumerate(self, scope: Scope) -> Enumeration:
        self.shelf.seen.append(tuple(each.value for each in scope.identifiers))
        return Enumeration(self.store, {"found": list(range(self.shelf.items))})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        self.shelf.calls.append(f"erase {self.store}")
        if self.shelf.away:
            self.shelf.away -= 1
            raise Transient(f"No answer about {MAIL.value}.")
        lease()
        left = self.shelf.items - self.shelf.retained
        if self.shelf.stuck:
            return Progress(done=True)
        gone = min(2, left)
        self.shelf.items -= gone
        if gone == left:
            self.shelf.items += self.shelf.comes_back
            self.shelf.comes_back = 0
        return Progress(deleted=gone, done=gone == left)


@dataclass
class ShelfVerifier:
    shelf: Shelf
    store: str = ""
    scopes: frozenset[Kind] = BOTH

    def __post_init__(self) -> None:
        self.store = self.shelf.store

    def coverage(self, scope: Scope) -> Coverage:
        return Coverage(covered=tuple(self.shelf.places), unclassified=tuple(self.shelf.unclassified))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        return self.shelf.blockers

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        self.shelf.calls.append("count")
        kept = Tally("shelf.law", self.shelf.retained, action="retain", ground="tax law")
        return (Tally("shelf.top", self.shelf.items - self.shelf.retained), kept)

    def control(self, scope: Scope) -> Control:
        return Control(self.shelf.control, "the control item")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return (Residue("backups", "declared", timezone.now() + timedelta(days=40)),)


@dataclass
class House:
    """A registry over shelves, its workflows, and a tenant."""

    tenant: Tenant
    shelves: tuple[Shelf, ...]
    registry: Registry
    workflows: Erasing

    @property
    def shelf(self) -> Shelf:
        return self.shelves[0]

    def asked(self, kind: Kind = "tenant", **more: Any) -> ErasureRequest:
        fields = {"grace": timedelta(0), "identifiers": (MAIL,) if kind == "subject" else (), **more}
        wish = verbs.ErasureWish(kind=kind, **fields)
        return verbs.request_erasure(tenant=self.tenant, wish=wish, actor=ALICE, key=str(uuid4()))

    def proved(self, request: ErasureRequest) -> ErasureRequest:
        if request.state == ErasureState.IDENTIFYING:
            verbs.prove_identity(request, evidence=uuid4(), actor=ALICE, key=str(uuid4()))
        return request

    def proposed(self, kind: Kind = "tenant", **more: Any) -> ErasureRequest:
        """Asked for and counted, and put before somebody else."""
        request = self.proved(self.asked(kind, **more))
        self.swept(request)
        return verbs.propose_erasure(request, actor=ALICE, key=str(uuid4()))

    def approved(self, kind: Kind = "tenant", **more: Any) -> ErasureRequest:
        return approve(self.proposed(kind, **more))

    def swept(self, request: ErasureRequest, *, passes: int = 1) -> ErasureRequest:
        """As if every date of the request's had come: the sweeper begins what is due, and workers drive it."""
        for _pass in range(passes):
            ErasureRequest.objects.filter(pk=request.pk, look_at__isnull=False).update(look_at=LONG_AGO)
            sweep_erasures(self.workflows)
            self.driven()
        request.refresh_from_db()
        return request

    def driven(self) -> None:
        """Whatever is runnable, failing steps included, until nothing more can be done about it now."""
        flows = [getattr(self.workflows, name) for name in ("erase", "again", "plan", "check")]
        for _turn in range(12):
            drive.advance(queue=Queue.OPERATIONS, workflows={flow.key: flow for flow in flows})
            if not Run.objects.filter(state="running", lease_until=None).update(run_at=LONG_AGO):
                return


LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.get_current_timezone())


def approve(request: ErasureRequest, by: Actor = BOB) -> ErasureRequest:
    frozen = verbs.plan_of_erasure(request)
    assert frozen is not None
    return verbs.approve_erasure(request, digest=bytes(frozen.digest), actor=by, key=str(uuid4()))


def house_of(tenant: Tenant, *shelves: Shelf, phases: tuple[tuple[int, ...], ...] = ()) -> House:
    """`phases`: of each shelf, where they are not 5 alone."""
    shelves = shelves or (Shelf(),)
    entries = zip(shelves, phases or ((5,),) * len(shelves), strict=True)
    kinds: tuple[Kind, ...] = ("tenant", "subject")
    return housed(
        tenant,
        shelves,
        Registry(
            erasers=tuple(ShelfEraser(shelf, phase) for shelf, those in entries for phase in those),
            verifiers=tuple(ShelfVerifier(shelf) for shelf in shelves),
            required={(kind, tier): frozenset({shelves[0].store}) for kind in kinds for tier in Tier},
            proofs=lambda _scope: PROVED,
        ),
    )


def housed(tenant: Tenant, shelves: tuple[Shelf, ...], registry: Registry) -> House:
    erase, again = erasing(registry)
    plan, check = looks(registry)
    return House(tenant, shelves, registry, Erasing(erase, again, plan, check))


def settled_acme() -> Tenant:
    """Suspended, by hand: how its doors are shut is tested with the workflow that does it. It has a place."""
    url = os.environ["CLUSTER_URL"]
    plan = Plan.objects.create(name="standard", tier=Tier.SCHEMA)
    acme = Tenant.objects.create(
        slug="acme", name="Acme", principal="billing", plan=plan, region="local", state="suspended"
    )
    place = conninfo_to_dict(url)
    cluster = Cluster(
        name="local-1", region="local", capacity=10, database=str(place["dbname"]), public_host="localhost"
    )
    cluster.sealed_url = sealed_url(url, cluster)
    cluster.save(force_insert=True)
    Placement.objects.create(
        tenant=acme, tier=Tier.SCHEMA, cluster=cluster, database=cluster.database, schema=tenant_key(acme.pk)
    )
    return acme


def certificate_of(request: ErasureRequest) -> dict[str, Any]:
    assert request.certificate is not None
    return dict(request.certificate)


def lines_of(request: ErasureRequest) -> dict[str, tuple[int, ...]]:
    """Planned, deleted, absent, retained, remaining: as the certificate has them of each store."""
    columns = ("planned", "deleted", "absent", "retained", "remaining")
    return {line["store"]: tuple(line[name] for name in columns) for line in certificate_of(request)["stores"]}


def stopped(request: ErasureRequest) -> tuple[str, str, str, str]:
    """State, error code, step and detail of its latest operation."""
    run = request.run
    assert run is not None
    error = run.error or {"code": "", "detail": ""}
    return run.state, error["code"], run.step, error["detail"]


def blockers_of(request: ErasureRequest) -> list[tuple[str, str]]:
    assert request.counted is not None
    return [(blocker["code"], blocker["message"]) for blocker in request.counted["blockers"]]
