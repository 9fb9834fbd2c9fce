"""Tenants that come, or are suspended, while a rollout is at work: everybody ends on its release, with their rows."""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import redis
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases import blueprint, guard
from provisioning.databases.servers import connect, run
from provisioning.models import Queue, Release, ReleasePath, Rollout, RolloutTarget, Run
from provisioning.rollout import seams
from provisioning.rollout.bringing import DatabaseReplayer
from provisioning.rollout.drift import Selection, State
from tenants.models import Pool, Tenant
from tenants.states import TenantState, Tier
from tests.crashes.harness import LONG_AGO
from tests.fleet import BILLING, accepted, done, onboarded
from tests.pools import pool_apart
from tests.provisioning.rollout.building import approved, driven, replaying, time_passes
from tests.shelf import Shelf

pytestmark = pytest.mark.long

BOOK = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=50))])
"""
COUNT = """
def counted(apps, schema_editor):
    Book = apps.get_model("{app}", "Book")
    for book in Book.objects.all():
        book.letters = len(book.title)
        book.save()
"""
LETTERS = """
    migrations.AddField("Book", "letters", models.IntegerField(default=0)),
    migrations.RunPython(counted, migrations.RunPython.noop),
    migrations.AddIndex("Book", models.Index(fields=["letters"], name="book_letters")),
"""


class Meanwhile(DatabaseReplayer):
    """The real replayer. Before each target's replay something else happens; `calls` counts them."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        super().__init__()
        self.calls, self._happens = 0, happens

    def replay(self, target: RolloutTarget, path: ReleasePath) -> seams.Replayed:
        self.calls += 1
        self._happens(self.calls)
        return super().replay(target, path)


@pytest.fixture
def tenants(house: None, stack: Stack, shelf: Shelf) -> Iterator[list[Tenant]]:
    """On the shelf's first release, one a tier, each with the book `bb`."""
    shelf.write("0001_books", BOOK)
    blueprint.publish(actor=BILLING)
    with pool_apart(stack) as pool:
        Pool.objects.exclude(pk=pool.pk).update(ready_at=None)  # of another application
        made = [onboarded(f"{tier}-acme", tier) for tier in Tier]
        for tenant in made:
            asked(tenant, shelf, "INSERT INTO {book} (title) VALUES ('bb')")
        yield made


@pytest.fixture
def next_release(tenants: list[Tenant], shelf: Shelf) -> Release:
    shelf.write("0002_letters", LETTERS, before="0001_books", head=COUNT.replace("{app}", shelf.name))
    return blueprint.publish(actor=BILLING)


def asked(tenant: Tenant, shelf: Shelf, query: str) -> list[tuple[object, ...]]:
    """As the owner of the tenant's tables, in a pool as the tenant; `{book}` is the table."""
    context = tenant.context()
    placed = tenant.placements.get(active=True)
    with connect(placed.cluster, database=context.database) as connection, connection.transaction():
        if context.tier == Tier.POOL:
            guard.enter(connection, context)
        run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(context.schema)))
        return run(connection, sql.SQL(query).format(book=sql.Identifier(f"{shelf.name}_book")))


def rolled_out(release: Release, happens: Callable[[int], None]) -> Rollout:
    """The schema tier's tenant first, then the others, with what happens before each."""
    with replaying(Meanwhile(happens)):
        rollout = driven(approved(release, canary=["schema-acme"], waves=[{"count": 1}, {"percent": 100}]))
    failures = list(rollout.targets.exclude(error=None).values_list("error", flat=True))
    assert (rollout.state, failures) == ("succeeded", [])
    return rollout


def refuse_who_is_elsewhere(release: Release, shelf: Shelf, *, tenants: int) -> None:
    """Register, tables and rows of all of them agree."""
    assert list(Tenant.objects.values_list("release", flat=True)) == [release.name] * tenants
    assert {pool.release for pool in Pool.objects.exclude(ready_at=None)} == {release.name}
    standing = lifecycle.survey_drift(lifecycle.targets_of(Selection()))
    assert {each.state for each in standing} == {State.AS_RELEASED}
    for tenant in Tenant.objects.all():
        books = [("bb", 2)] if tenant.slug.endswith("-acme") else []
        assert asked(tenant, shelf, "SELECT title, letters FROM {book}") == books


def test_who_is_onboarded_in_mid_rollout_is_on_the_release_in_the_end(
    tenants: list[Tenant], next_release: Release, shelf: Shelf
) -> None:
    def three_come(number: int) -> None:
        for tier in Tier:
            accepted(f"{tier}-{number}", tier)
        lifecycle.advance(queue=Queue.OPERATIONS)  # who comes while the pool itself is at work has to wait

    rolled_out(next_release, three_come)
    Run.objects.filter(queue=Queue.OPERATIONS, finished_at=None).update(run_at=LONG_AGO)
    lifecycle.advance(queue=Queue.OPERATIONS)
    operations = Run.objects.filter(queue=Queue.OPERATIONS)
    assert set(operations.values_list("state", flat=True)) == {"succeeded"}
    assert set(Tenant.objects.values_list("state", flat=True)) == {TenantState.ACTIVE}
    refuse_who_is_elsewhere(next_release, shelf, tenants=3 + 9)


def test_who_is_suspended_in_mid_rollout_is_taken_along(
    tenants: list[Tenant], next_release: Release, shelf: Shelf
) -> None:
    def all_are_suspended(number: int) -> None:
        if number == 1:
            for tenant in Tenant.objects.all():
                done(lifecycle.suspend, tenant)

    rolled_out(next_release, all_are_suspended)
    assert set(Tenant.objects.values_list("state", flat=True)) == {TenantState.SUSPENDED}
    for tenant in Tenant.objects.all():
        done(lifecycle.resume_tenant, tenant)
    refuse_who_is_elsewhere(next_release, shelf, tenants=3)


def test_a_closed_door_of_a_pool_keeps_no_rows_from_the_release(
    tenants: list[Tenant], next_release: Release, shelf: Shelf
) -> None:
    pooled = next(tenant for tenant in tenants if tenant.slug.startswith("pool"))
    placed = pooled.placements.get(active=True)

    def the_door_is_closed(number: int) -> None:
        if number == 1:
            with connect(placed.cluster) as connection:
                guard.close_door(connection, pooled.context())

    rolled_out(next_release, the_door_is_closed)
    with connect(placed.cluster) as connection:
        guard.open_door(connection, pooled.context())
    refuse_who_is_elsewhere(next_release, shelf, tenants=3)


class InBadWeather(DatabaseReplayer):
    """The real replayer. The storm comes before its first target, and after the second has arrived, unrecorded."""

    def __init__(self, storm: Callable[[], None]) -> None:
        super().__init__()
        self.calls, self.arrived, self._storm = 0, 0, storm

    def replay(self, target: RolloutTarget, path: ReleasePath) -> seams.Replayed:
        self.calls += 1
        if self.calls == 1:
            self._storm()
        replayed = super().replay(target, path)
        self.arrived += 1
        if self.arrived == 2:
            self._storm()
        return replayed


@pytest.mark.crash
def test_a_postgresql_that_restarts_and_a_broker_that_forgets_cost_only_time(
    tenants: list[Tenant], next_release: Release, shelf: Shelf, stack: Stack
) -> None:
    storms = []

    def storm() -> None:
        stack.restart("postgres", by=signal.SIGQUIT)
        redis.Redis.from_url(settings.BROKER_URL).flushall()
        storms.append("restarted at once")

    with replaying(InBadWeather(storm)):
        rollout = approved(next_release, waves=[{"percent": 100}])
        for _turn in range(20):
            with suppress(OperationalError, InterfaceError):  # as a Celery task would fail; then comes the sweeper
                lifecycle.advance(queue=Queue.FLEET)
                lifecycle.sweep()
            connections.close_all()
            Run.objects.filter(lease_until__isnull=False).update(lease_until=LONG_AGO)
            time_passes()
            rollout.refresh_from_db()
            if rollout.state != "running":
                break
    assert (rollout.state, len(storms)) == ("succeeded", 2)
    assert set(rollout.targets.values_list("state", flat=True)) == {"succeeded"}
    refuse_who_is_elsewhere(next_release, shelf, tenants=3)
