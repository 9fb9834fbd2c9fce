"""A draft walked on copies of tenants in every tier, which leaves nothing behind; and what it found is heard."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as django_connection
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases import blueprint, copies
from provisioning.databases.fingerprint import shape
from provisioning.databases.replaying import Target
from provisioning.databases.servers import connect, run
from provisioning.models import Rehearsal, Release, Rollout
from provisioning.rollout.plan import Frozen
from provisioning.rollout.sampling import placed, sampled
from provisioning.rollout.verbs import plan_now
from tenants.audit import AuditAction
from tenants.errors import StateConflict
from tenants.models import Cluster, Pool, Tenant
from tenants.states import Tier
from tests.crashes.harness import wait_for
from tests.fleet import BILLING, onboarded
from tests.pools import pool_apart
from tests.provisioning.rollout.building import ALICE, driven, proposed, states
from tests.provisioning.rollout.test_fleet import BOOK, COUNT, LETTERS, asked, books
from tests.shelf import Shelf

pytestmark = pytest.mark.long

COPIED = r"""
    SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'rehearsal\_%'
    UNION ALL SELECT datname::text FROM pg_database WHERE datname LIKE 'rehearsal\_%'
    UNION ALL SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'rehearsal\_%'
    UNION ALL SELECT target FROM tenure.replay WHERE target LIKE 'rehearsal\_%'
"""
DOORS = "SELECT tenant, incarnation, open FROM tenure_guard.placement ORDER BY tenant"
UNIQUE = 'migrations.AddConstraint("Book", models.UniqueConstraint(fields=["pages"], name="book_pages")),'
# Publishing meets no row, so it does not wait; a copy with rows does.
WAITS = 'migrations.RunSQL("UPDATE {table} SET pages = 1 WHERE pg_sleep(60) IS NOT NULL", migrations.RunSQL.noop),'
ANYTHING = lifecycle.RehearsalLimits(ms=0, bytes=0)
REHEARSE = """
import django
django.setup()
from provisioning import lifecycle
from provisioning.models import Rollout
from tests.fleet import BILLING
lifecycle.rehearse_rollout(Rollout.objects.get(), actor=BILLING)
"""


@pytest.fixture
def fleet(house: None, stack: Stack, shelf: Shelf) -> Iterator[list[Tenant]]:
    """One tenant in a schema, one in a database, two in a pool; each with the books `a` and `bb`."""
    shelf.write("0001_books", BOOK)
    blueprint.publish(actor=BILLING)
    Pool.objects.update(ready_at=None)  # the house's, which is of another application
    with pool_apart(stack):
        made = [onboarded(f"{tier}-acme", tier) for tier in Tier] + [onboarded("pool-globex", Tier.POOL)]
        for tenant in made:
            for title in ("a", "bb"):
                asked(tenant, sql.SQL("INSERT INTO {} (title, pages) VALUES ({}, 1)").format(books(shelf), title))
        yield made


def published(shelf: Shelf, operations: str, *, head: str = "") -> Release:
    named = [text.replace("{app}", shelf.name).replace("{table}", f"{shelf.name}_book") for text in (operations, head)]
    shelf.write("0002_next", named[0], before="0001_books", head=named[1])
    return blueprint.publish(actor=BILLING)


def targets(frozen: Frozen) -> list[Target]:
    return [placed(chosen, k=3) for chosen in sampled(frozen, k=3)]


def left() -> list[str]:
    """Of copies, on the cluster's server."""
    with connect(Cluster.objects.get()) as connection:
        return [name for (name,) in run(connection, COPIED)]


def doors() -> list[tuple[Any, ...]]:
    """Who may enter pools; those of other tests are there, too."""
    with connect(Cluster.objects.get()) as connection:
        return run(connection, DOORS)


def everything(target: Target) -> tuple[list[str], dict[str, list[str]], list[Any]]:
    """Shape, rows of all tables, and where the sequences stand, as the verifier sees them."""
    with connect(Cluster.objects.get(), database=target.database) as connection, connection.transaction():
        lines = shape(connection, target.schema)
        found = run(
            connection, "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s", target.schema
        )
        tables = run(
            connection,
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'",
            target.schema,
        )
        run(connection, "SET LOCAL ROLE tenure_verifier")
        rows = {}
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(target.schema, table))
            rows[table] = [row for (row,) in run(connection, query)]
    return lines, rows, sorted(found)


def test_a_copy_has_shape_rows_and_next_ids_of_what_it_copies(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, LETTERS, head=COUNT))
    for number, target in enumerate(targets(plan_now(rollout))):
        source = Release.objects.get(name=Tenant.objects.get(slug="schema-acme").release)
        with copies.working(Cluster.objects.get(), rollout.pk):
            copy = copies.copied(target, source, named=copies.copy_name(rollout.pk, number))
            assert (copy.database, copy.schema) != (target.database, target.schema)
            ours, theirs = everything(copy), everything(target)
            assert ours == theirs
            assert len(ours[1][f"{shelf.name}_book"]) == (4 if target.pooled else 2)
        assert left() == []


def test_a_rehearsal_tells_of_time_locks_and_rows_and_leaves_nothing(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, LETTERS, head=COUNT))
    open_before = doors()
    digest, before = rollout.plan_digest, [everything(target) for target in targets(plan_now(rollout))]
    rehearsal = lifecycle.rehearse_rollout(rollout, actor=BILLING)
    assert (rehearsal.state, rehearsal.error, rehearsal.findings) == ("finished", "", [])
    table = f"{shelf.name}_book"
    found = {copy["tier"]: copy for copy in rehearsal.copies}
    assert [found[tier]["tenants"] for tier in Tier] == [2, 1, 1]
    for tier, copy in found.items():
        assert copy["error"] == {}
        assert {each["table"]: each["rows"] for each in copy["tables"]}[table] == (4 if tier == "pool" else 2)
        locks = {(each["table"], each["lock"]): each for each in copy["locks"]}
        alter = locks[table, "ACCESS EXCLUSIVE"]
        assert (alter["migration"], alter["held_ms"] > 0) == (f"{shelf.name}.0002_next", True)
        assert "letters" in alter["statement"]
        assert (table, "SHARE") in locks
    assert rehearsal.estimate_s is not None
    low, high = rehearsal.estimate_s
    assert 0 < low <= high
    assert (rollout.plan["estimate_s"], rollout.plan_digest) == ([low, high], digest)
    assert lifecycle.plan_of(rollout).estimate_s == (low, high)
    assert lifecycle.latest_rehearsal(rollout) == rehearsal
    assert left() == []
    assert [everything(target) for target in targets(plan_now(rollout))] == before
    assert doors() == open_before
    rollout = lifecycle.approve_rollout(rollout, digest=digest, actor=ALICE)
    assert rollout.plan["estimate_s"] == [low, high]
    with pytest.raises(StateConflict):
        lifecycle.rehearse_rollout(rollout, actor=BILLING)
    rollout = driven(rollout)
    assert (rollout.state, states(rollout)) == ("succeeded", {"succeeded": 3})


def test_a_lock_over_the_limit_wants_a_reason(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, LETTERS, head=COUNT), selection={"tier": ["schema"]})
    rehearsal = lifecycle.rehearse_rollout(rollout, actor=BILLING, limits=ANYTHING)
    (finding,) = rehearsal.findings
    assert (finding["code"], finding["lock"], finding["target"]) == ("LOCK_HELD", "ACCESS EXCLUSIVE", "schema-acme")
    digest = rollout.plan_digest
    with pytest.raises(lifecycle.RehearsalObjects) as refused:
        lifecycle.approve_rollout(rollout, digest=digest, actor=ALICE)
    assert refused.value.metadata["findings"] == rehearsal.findings
    rollout.refresh_from_db()
    assert rollout.state == "draft"
    rollout = lifecycle.approve_rollout(rollout, digest=digest, actor=ALICE, override="At night nobody is there.")
    rehearsal.refresh_from_db()
    assert (rollout.state, rehearsal.override) == ("running", "At night nobody is there.")
    assert rehearsal.overridden_by == str(ALICE)
    assert audited(rollout)[-2:] == [AuditAction.ROLLOUT_OVERRIDDEN, AuditAction.ROLLOUT_APPROVED]


def test_a_second_rehearsal_with_other_limits_counts(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, LETTERS, head=COUNT), selection={"tier": ["schema"]})
    assert lifecycle.rehearse_rollout(rollout, actor=BILLING, limits=ANYTHING).findings
    assert not lifecycle.rehearse_rollout(rollout, actor=BILLING).findings
    assert lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE).state == "running"


def test_a_copy_that_refuses_the_release_is_a_finding(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, UNIQUE))  # each tenant has two books of one page
    rehearsal = lifecycle.rehearse_rollout(rollout, actor=BILLING)
    assert {(each["code"], each["migration"]) for each in rehearsal.findings} == {
        ("COPY_FAILED", f"{shelf.name}.0002_next")
    }
    assert (len(rehearsal.findings), rehearsal.estimate_s, left()) == (3, None, [])
    with pytest.raises(lifecycle.RehearsalObjects):
        lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tier", Tier)
def test_what_a_killed_rehearsal_left_is_swept_up(tier: Tier, fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, WAITS), selection={"slugs": [f"{tier}-acme"]})
    killed_while_it_replays()
    assert left() != []
    (rehearsal,) = Rehearsal.objects.all()
    assert rehearsal.state == "running"
    lifecycle.sweep()
    rehearsal.refresh_from_db()
    assert (rehearsal.state, rehearsal.error != "", left()) == ("failed", True, [])
    assert lifecycle.latest_rehearsal(rollout) is None


def test_copies_that_somebody_works_with_are_left_alone(fleet: list[Tenant], shelf: Shelf) -> None:
    rollout = proposed(published(shelf, LETTERS, head=COUNT))
    cluster, (target, *_others) = Cluster.objects.get(), targets(plan_now(rollout))
    source = Release.objects.get(name=Tenant.objects.get(slug="schema-acme").release)
    with copies.working(cluster, rollout.pk):
        copies.copied(target, source, named=copies.copy_name(rollout.pk, 0))
        assert copies.clear_away(cluster) == 0
        assert left() == [copies.copy_name(rollout.pk, 0)]
    assert left() == []


def killed_while_it_replays() -> None:
    asleep = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tenure:replay' AND wait_event = 'PgSleep'"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    process = subprocess.Popen([sys.executable, "-c", REHEARSE], env=environment)
    try:
        with connect(Cluster.objects.get()) as connection:
            wait_for(lambda: bool(run(connection, asleep)) or process.poll() is not None)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def audited(rollout: Rollout) -> list[str]:
    """What was done with it, in order."""
    with django_connection.cursor() as cursor:
        cursor.execute("SELECT body FROM audit_entry WHERE body LIKE %s ORDER BY seq", [f"%{rollout.pk}%"])
        return [json.loads(body)["action"] for (body,) in cursor.fetchall()]
