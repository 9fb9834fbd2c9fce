"""A fleet of small schemas made by hand, a release that follows the one they are on, and a replayer of plain SQL.

Each schema has `project (id, name)` and `django_migrations (app, name)`; the release adds a column and a constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from django.db.models import Max
from django.db.models.functions import Now
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases.servers import Connection, connect, run
from provisioning.errors import Permanent, Transient
from provisioning.models import Queue, Release, ReleasePath, Rollout, RolloutTarget, Run
from provisioning.rollout import seams
from provisioning.rollout.budget import DATA_ERROR, DRIFT, LOCK_TIMEOUT, LOST_CONNECTION
from provisioning.rollout.drift import Target, target_named
from provisioning.rollout.seams import Arrived, Replayed
from tenants.audit import Actor
from tenants.models import Cluster, Placement, Plan, Tenant
from tenants.placement import tenant_key
from tenants.states import TenantState, Tier
from tests.crashes.harness import LONG_AGO
from tests.fleet import BILLING

ALICE, BOB = Actor("user", "1", "Alice"), Actor("user", "2", "Bob")
PLACEHOLDER = "bp_" + "7" * 32
STATEMENTS = (
    f"ALTER TABLE {PLACEHOLDER}.project ADD COLUMN size integer NOT NULL DEFAULT 0",
    f"ALTER TABLE {PLACEHOLDER}.project ADD CONSTRAINT project_named CHECK (name <> '')",
)
MIGRATION = ("projects", "0005_size")
TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.project (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE {schema}.django_migrations (app text, name text);
INSERT INTO {schema}.project VALUES (1, 'first')
"""


class Away(Transient):
    """A lock was not to be had, or the server was away."""

    code = "AWAY"


class Refused(Permanent):
    """The statement cannot succeed here."""

    code = "REFUSED"


def current() -> Release:
    return Release.objects.get(current=True)


def next_release(name: str = "next", *, contracts: str = "", statements: tuple[str, ...] = STATEMENTS) -> Release:
    """A published release behind the current one, and the path to it."""
    latest = Release.objects.aggregate(at=Max("published_at"))["at"]
    release = Release.objects.create(
        name=name,
        state=Release.State.PUBLISHED,
        placeholder=PLACEHOLDER,
        fingerprint="f",
        contracts=contracts,
        published_at=latest,
    )
    Release.objects.filter(pk=release.pk).update(published_at=latest.replace(year=latest.year + 1))
    record_path(current(), release, statements)
    return Release.objects.get(pk=release.pk)


def record_path(source: Release, target: Release, statements: tuple[str, ...] = STATEMENTS) -> ReleasePath:
    acts = [{"kind": "ddl", "text": text, "position": 0, "operation": "", "description": ""} for text in statements]
    app, migration = MIGRATION
    migrations = [
        {"app": app, "name": migration, "atomic": True, "unapply": False, "replaces": [], "acts": acts},
    ]
    return ReleasePath.objects.create(source=source, target=target, migrations=migrations, pool_migrations=migrations)


def made(number: int, *, first: int = 0, schemas: bool = True, release: str = "") -> list[Tenant]:
    """So many active tenants `t0`, `t1`, …, each with a small schema of its own (or with rows alone)."""
    cluster, plan = Cluster.objects.get(), Plan.objects.get(name="standard")
    on = release or current().name
    tenants = Tenant.objects.bulk_create(
        Tenant(
            pk=UUID(int=(0x7E << 120) | (first + each + 1)),  # in the order of their names
            slug=f"t{first + each}-acme",
            name="Acme",
            principal="billing",
            plan=plan,
            region="local",
            release=on,
            state=TenantState.ACTIVE,
        )
        for each in range(number)
    )
    Placement.objects.bulk_create(
        Placement(
            tenant=tenant, tier=Tier.SCHEMA, cluster=cluster, database=cluster.database, schema=tenant_key(tenant.pk)
        )
        for tenant in tenants
    )
    if schemas:
        with connect(cluster) as connection:
            for tenant in tenants:
                run(connection, sql.SQL(TABLES).format(schema=sql.Identifier(tenant_key(tenant.pk))))
    return tenants


def remove_schemas() -> None:
    with connect(Cluster.objects.get()) as connection:
        for (schema,) in run(connection, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_7e000000%'"):
            run(connection, sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


@contextmanager
def inside(tenant: Tenant) -> Iterator[Connection]:
    """A connection whose search path is the tenant's schema."""
    with connect(Cluster.objects.get()) as connection:
        run(connection, sql.SQL("SET search_path = {}").format(sql.Identifier(tenant_key(tenant.pk))))
        yield connection


def changed_by_hand(stack: Stack, name: str, statements: str) -> Target:
    """What a person with the owner's rights does: any SQL to a target, `{0}` being its schema."""
    target = target_named(name)
    with psycopg.connect(stack.superuser_url, dbname=target.database, autocommit=True) as connection:
        connection.execute("SET ROLE tenure_owner")
        connection.execute(statements.replace("{0}", target.schema).encode())
    return target


def columns(tenant: Tenant) -> list[str]:
    asked = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attname"
    with connect(Cluster.objects.get()) as connection:
        return [name for (name,) in run(connection, asked, f"{tenant_key(tenant.pk)}.project")]


def applied(tenant: Tenant) -> int:
    """How many times the migration was recorded: once, or never."""
    with inside(tenant) as connection:
        return int(run(connection, "SELECT count(*) FROM django_migrations WHERE name = %s", MIGRATION[1])[0][0])


@dataclass
class PlainReplayer:
    """The path's text in one transaction, told apart by what PostgreSQL says. `calls` is who was replayed, in order;
    `before` is called first, and `look` instead of comparing."""

    calls: list[str] = field(default_factory=list)
    before: Callable[[RolloutTarget], None] | None = None
    look: Callable[[str], str] | None = None

    def replay(self, target: RolloutTarget, path: ReleasePath) -> Replayed:
        schema = target.pool.schema if target.pool else tenant_key(target.tenant_id or uuid4())
        self.calls.append(schema)
        if self.before is not None:
            self.before(target)
        try:
            with connect(target.cluster) as connection, connection.transaction():
                self._walk(connection, schema, target, path)
        except psycopg.Error as error:
            raise _ours(error) from error
        return Arrived()

    def difference(self, target: RolloutTarget, release: Release) -> str:
        schema = target.pool.schema if target.pool else tenant_key(target.tenant_id or uuid4())
        if self.look is not None:
            return self.look(schema)
        with connect(target.cluster) as connection:
            return "" if _is_there(connection, schema) else "project.size is missing"

    def close(self) -> None:
        """It connects for each target."""

    def _walk(self, connection: Connection, schema: str, target: RolloutTarget, path: ReleasePath) -> None:
        run(connection, "SELECT set_config('lock_timeout', %s, true)", f"{target.rollout.lock_timeout_ms}ms")
        run(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", schema)
        if _is_there(connection, schema):
            return
        for migration in path.migrations:
            for act in migration["acts"]:
                connection.execute(act["text"].replace(path.target.placeholder, schema))
            row = sql.SQL("INSERT INTO {}.django_migrations VALUES (%s, %s)").format(sql.Identifier(schema))
            run(connection, row, migration["app"], migration["name"])


class RowsOnly:
    """Arrives at once: for what is about the control database alone."""

    def replay(self, target: RolloutTarget, path: ReleasePath) -> Replayed:
        return Arrived()

    def difference(self, target: RolloutTarget, release: Release) -> str:
        return ""

    def close(self) -> None:
        """It never connects."""


def _is_there(connection: Connection, schema: str) -> bool:
    asked = sql.SQL("SELECT count(*) FROM {}.django_migrations WHERE name = %s").format(sql.Identifier(schema))
    return bool(run(connection, asked, MIGRATION[1])[0][0])


def _ours(error: psycopg.Error) -> Exception:
    said: dict[str, Any] = {"sqlstate": error.sqlstate, "migration": ".".join(MIGRATION)}
    budget_class, kind = DATA_ERROR, Refused
    if isinstance(error, psycopg.errors.LockNotAvailable):
        budget_class, kind = LOCK_TIMEOUT, Away  # type: ignore[assignment]
    elif isinstance(error, psycopg.errors.DuplicateColumn):
        budget_class, said["difference"] = DRIFT, "project.size is there already"
    elif isinstance(error, psycopg.OperationalError):
        budget_class, kind = LOST_CONNECTION, Away  # type: ignore[assignment]
    ours = kind(str(error).splitlines()[0], cure="Mend it, then retry.", **said)
    ours.budget_class = budget_class  # type: ignore[attr-defined]
    return ours


@contextmanager
def replaying(replayer: seams.Replayer) -> Iterator[None]:
    """With paths that are recorded, and nobody to record others: there is no application behind these releases."""
    former = seams.replayer, seams.path_between
    seams.replayer, seams.path_between = replayer, seams.recorded_path
    try:
        yield
    finally:
        seams.replayer, seams.path_between = former


def proposed(release: Release, **terms: Any) -> Rollout:
    return lifecycle.propose_rollout(
        release=release, terms=lifecycle.RolloutTerms(**terms), actor=BILLING, key=str(uuid4())
    )


def approved(release: Release, **terms: Any) -> Rollout:
    """A rollout that runs: what BILLING proposed, ALICE approved."""
    rollout = proposed(release, **terms)
    return lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)


def time_passes() -> None:
    """What waits is due: runs of rollouts, and targets."""
    fleet = Run.objects.filter(queue=Queue.FLEET, state__in=["queued", "running"], lease_until=None)
    fleet.update(run_at=LONG_AGO)
    due = Now() - timedelta(seconds=1)
    RolloutTarget.objects.filter(state="waiting", not_before__isnull=False).update(not_before=due)


def driven(rollout: Rollout, *, turns: int = 40) -> Rollout:
    """Wake-ups and time, until the rollout stands still or is over and its run has ended."""
    for _turn in range(turns):
        lifecycle.advance(queue=Queue.FLEET)
        rollout.refresh_from_db()
        if rollout.state != "running" and (rollout.run is None or rollout.run.ended):
            return rollout
        time_passes()
    raise AssertionError((rollout.state, [(run.workflow, run.state, run.error) for run in Run.objects.all()]))


def states(rollout: Rollout) -> dict[str, int]:
    """How many targets are in each state."""
    found: dict[str, int] = {}
    for state in rollout.targets.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found
