"""A whole tenant goes from each tier; its neighbour is byte for byte as before."""

import time
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from django.db.models import F
from django.utils import timezone
from psycopg import sql

from provisioning.databases import guard, tiers
from provisioning.databases.ddl import OWNER
from provisioning.databases.erasing.containers import DatabaseHeld, DependedOn
from provisioning.databases.pooling import compiled
from provisioning.databases.servers import session
from provisioning.erasure.collateral import (
    Collateral,
    Compared,
    compared,
    hashes_of,
    others_on,
    refuse_difference,
    refuse_excess,
    standing_beside,
)
from provisioning.erasure.erasers.pool_rows import ROWS
from provisioning.erasure.stores import Budget, Enumeration, Tally
from tenants.models import Cluster, Placement, Pool, Tenant
from tenants.placement import pool_group
from tenants.states import Tier
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made
from tests.provisioning.erasure.rows.erasing import (
    STORES,
    Killed,
    all_of,
    counted,
    erased,
    eraser_of,
    judged,
    named,
    nobody_stops,
    verifier_of,
)

pytestmark = pytest.mark.long

STORE_OF = {Tier.POOL: "pool_rows", Tier.SCHEMA: "schema", Tier.DATABASE: "database"}


def furnish(made: Made) -> None:
    """Some rows that refer to each other."""
    with tiers.connect(made.context) as own:
        own.execute("INSERT INTO projects_member (name, email, joined_at) VALUES ('Ada', 'ada@acme.example', now())")
        own.execute("INSERT INTO projects_project (name, description, created_at) VALUES ('a', '', now())")
        own.execute(
            "INSERT INTO projects_project_tags (project_id, tag_id)"
            " SELECT p.id, t.id FROM projects_project p, projects_tag t"
        )


@pytest.mark.parametrize("tier", Tier)
def test_acme_is_gone_and_globex_is_as_before(tier: Tier, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", tier), tenant("globex", tier)
    for each in (acme, globex):
        furnish(each)
    scope, cluster = all_of(acme), Cluster.objects.get()
    planned, theirs = counted(scope), hashes_of(globex.context)
    others = others_on(cluster, acme.context.key)
    assert len(planned) > 3, "the plan has seen it"

    gone = erased(scope)

    assert counted(scope) == {}
    assert {verdict.control.ok for verdict in (judged(store, scope) for store in STORES)} == {True}
    assert {judged(store, scope).status for store in STORE_OF.values()} == {"clean"}
    assert gone == sum(number or 0 for number in planned.values())
    refuse_difference(theirs, hashes_of(globex.context), whose=globex.context.tenant_id)
    assert others <= others_on(cluster, acme.context.key)
    assert globex.findings() == []
    assert erased(scope) == 0, "a second run finds nothing, and nothing wrong"


def test_a_neighbours_changed_row_and_a_row_too_many_are_collateral(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    before = hashes_of(acme.context)
    furnish(acme)
    with pytest.raises(Collateral, match="projects_member"):
        refuse_difference(before, hashes_of(acme.context), whose=acme.context.tenant_id)
    with pytest.raises(Collateral, match="4 items where 3"):
        refuse_excess([Tally("a", 1), Tally("b", 2)], 4, store="pool_rows")


@pytest.mark.parametrize("tier", [Tier.POOL, Tier.SCHEMA])
def test_of_neighbours_those_that_are_shut_are_compared(tier: Tier, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", Tier.POOL), tenant("globex", tier)
    row, now = Tenant.objects.filter(pk=globex.context.tenant_id), timezone.now()
    row.update(state="active", state_since=now)
    assert standing_beside(acme.context.tenant_id, quiet_since=now) == {}
    row.update(state="suspended")
    assert standing_beside(acme.context.tenant_id, quiet_since=now - timedelta(seconds=1)) == {}
    beside = standing_beside(acme.context.tenant_id, quiet_since=now)
    assert compared(beside, since=now) == Compared(same=1, changed=0)
    furnish(globex)
    assert compared(beside, since=now) == Compared(same=0, changed=1)
    row.update(version=F("version") + 1)  # whatever was done to it by name is nobody's collateral
    assert compared(beside, since=now) == Compared(same=0, changed=0)


def test_what_was_left_anywhere_in_the_database_is_counted_and_named(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", Tier.POOL)
    furnish(acme)
    scope = all_of(acme)
    superuser.execute(f"CREATE TABLE public.copied AS SELECT * FROM {own_pool.schema}.projects_member")
    superuser.execute(f"CREATE TABLE {own_pool.schema}.by_hand (email text)")
    try:
        found = verifier_of("pool_rows").control(scope)
        assert (found.ok, "hide rows" in found.method) == (False, True), "the verifier may not read the copy"
        superuser.execute(
            "GRANT USAGE ON SCHEMA public TO tenure_verifier; GRANT SELECT ON public.copied TO tenure_verifier"
        )
        unknown = [each.rpartition("/")[2] for each in verifier_of("pool_rows").coverage(scope).unclassified]
        assert {"public.copied", f"{own_pool.schema}.by_hand"} <= set(unknown)

        erased(scope, ["pool_rows"])
        superuser.execute(
            f"INSERT INTO {own_pool.schema}.projects_tag (tenant_id, name) VALUES (%s, 'late')",
            (acme.context.tenant_id,),
        )
        left = named(verifier_of("pool_rows").count(scope))
        assert left == {"public.copied": 1, f"{own_pool.schema}.projects_tag": 1}
        assert judged("pool_rows", scope).status == "dirty"
    finally:
        superuser.execute("DROP TABLE public.copied; REVOKE USAGE ON SCHEMA public FROM tenure_verifier")


def test_rows_left_where_the_tenant_moved_away_from_are_counted_and_go(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme, globex = tenant("acme"), tenant("globex", Tier.POOL)
    former = Placement.objects.get(tenant_id=globex.context.tenant_id)
    former.pk, former.tenant_id, former.active, former.retired_at = uuid4(), acme.context.tenant_id, False, former.since
    former.save(force_insert=True)
    insert = f"INSERT INTO {own_pool.schema}.projects_tag (tenant_id, name) VALUES (%s, 'behind')"
    superuser.execute(insert.encode(), (acme.context.tenant_id,))
    scope = all_of(acme)
    assert named(verifier_of("pool_rows").count(scope)) == {f"{own_pool.schema}.projects_tag": 1}
    assert erased(scope, ["pool_rows"]) == 1
    assert counted(scope, ["pool_rows"]) == {}
    assert not any("door" in each for each in counted(scope, ["roles"]))


def test_a_table_that_confines_nobody_is_left_alone_and_reported(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme, globex = tenant("acme", Tier.POOL), tenant("globex", Tier.POOL)
    before = globex.count()
    superuser.execute(f"ALTER TABLE {own_pool.schema}.projects_tag NO FORCE ROW LEVEL SECURITY")
    with pytest.raises(AssertionError, match="TABLE_NOT_CONFINED"):
        erased(all_of(acme), ["pool_rows"])
    assert judged("pool_rows", all_of(acme)).status == "dirty"
    assert globex.count() == before


def test_the_verifier_in_another_role_sees_that_it_sees_nothing(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    scope, group = all_of(acme), pool_group(acme.context.pool_id or uuid4())
    with session(Cluster.objects.get()) as connection:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(group)))
    for role in (group, OWNER):
        for verifier in map(verifier_of, STORES):
            assert not type(verifier)(role).control(scope).ok, (role, verifier.store)  # type: ignore[call-arg]  # of ours


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tier", Tier)
def test_a_worker_that_is_killed_between_two_batches_costs_only_time(tier: Tier, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", tier), tenant("globex", tier)
    furnish(acme)
    scope, theirs = all_of(acme), hashes_of(globex.context)
    for moment in range(2, 5):
        calls = iter(range(1, 100))

        def lease(calls: object = calls, moment: int = moment) -> None:
            if next(calls) == moment:  # type: ignore[call-overload]
                raise Killed

        with pytest.raises(Killed):
            erased(scope, bite=2, lease=lease)
    erased(scope)
    assert counted(scope) == {}
    refuse_difference(theirs, hashes_of(globex.context), whose=globex.context.tenant_id)


def test_a_small_table_goes_in_one_piece(own_pool: Pool, tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    with session(own_pool.cluster) as connection, connection.transaction():
        guard.enter(connection, acme.context)
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(own_pool.schema)))
        connection.execute(b"INSERT INTO projects_tag (name) SELECT 'tag ' || n FROM generate_series(1, 90) AS n")
    scope, later = all_of(acme), time.monotonic() + 30
    eraser_of("pool_rows").freeze(scope, nobody_stops)
    bites = [
        eraser_of("pool_rows").erase(scope, Enumeration("pool_rows", {}), ROWS, Budget(bite, later), nobody_stops)
        for bite in (10, 50)
    ]
    assert bites[0].deleted == 10, "its page may hold more than five times as many, so they are counted"
    assert bites[1].deleted >= 80, "and here it cannot"


def test_trees_and_circles_go_although_their_rows_refer_to_each_other(own_pool: Pool, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", Tier.POOL), tenant("globex", Tier.POOL)
    tables = """
        CREATE TABLE page (id int PRIMARY KEY, above int REFERENCES page);
        CREATE TABLE hen (id int PRIMARY KEY, egg int);
        CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen);
        ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg;
        CREATE TABLE feather (id int PRIMARY KEY, egg int REFERENCES egg)
    """
    rows = """
        INSERT INTO page SELECT n, nullif(n - 1, 0) FROM generate_series(1, 30) n;
        INSERT INTO page SELECT n, 30 FROM generate_series(31, 60) n; UPDATE page SET above = 2 WHERE id = 1;
        INSERT INTO hen VALUES (1, NULL); INSERT INTO egg VALUES (1, 1); UPDATE hen SET egg = 1;
        INSERT INTO feather VALUES (1, 1)
    """
    path = sql.SQL("SET LOCAL search_path = {}; ").format(sql.Identifier(own_pool.schema))
    with session(own_pool.cluster) as connection:
        with connection.transaction():
            guard.enter(connection, acme.context)
            connection.execute(path + sql.SQL(compiled(tables)))
        for each in (acme, globex):
            with connection.transaction():
                guard.enter(connection, each.context)
                connection.execute(path + sql.SQL(rows))
    theirs, planned = hashes_of(globex.context), named(verifier_of("pool_rows").count(all_of(acme)))
    assert planned[f"{own_pool.schema}.page"] == 60
    assert erased(all_of(acme), ["pool_rows"], bite=10) == sum(number or 0 for number in planned.values())
    refuse_difference(theirs, hashes_of(globex.context), whose=globex.context.tenant_id)
    assert named(verifier_of("pool_rows").count(all_of(acme))) == {}


def test_the_planner_forgets_values_of_rows_that_are_gone(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", Tier.POOL)
    furnish(acme)
    superuser.execute(
        f"CREATE STATISTICS {own_pool.schema}.both (mcv) ON name, email FROM {own_pool.schema}.projects_member"
    )
    superuser.execute(f"ALTER STATISTICS {own_pool.schema}.both OWNER TO tenure_owner")
    superuser.execute(
        f"INSERT INTO {own_pool.schema}.projects_member (tenant_id, name, email, joined_at)"
        " SELECT %s, 'Ada', 'ada@acme.example', now() FROM generate_series(1, 1)",
        (acme.context.incarnation,),
    )  # twice there, so that it is a most common value
    superuser.execute(f"ANALYZE {own_pool.schema}.projects_member")
    remembered = "SELECT count(*) FROM pg_stats WHERE schemaname = %s AND pg_stats::text LIKE '%%ada@acme%%'"
    extended = "SELECT count(*) FROM pg_stats_ext WHERE schemaname = %s AND pg_stats_ext::text LIKE '%%ada@acme%%'"
    assert [superuser.execute(each, (own_pool.schema,)).fetchone() for each in (remembered, extended)] == [(2,), (1,)]
    superuser.execute(
        f"DELETE FROM {own_pool.schema}.projects_member WHERE tenant_id = %s", (acme.context.incarnation,)
    )
    erased(all_of(acme), ["pool_rows"])
    assert [superuser.execute(each, (own_pool.schema,)).fetchone() for each in (remembered, extended)] == [(0,), (0,)]


def test_a_schema_goes_in_batches_and_not_while_others_depend_on_it(
    tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme")
    with superuser.transaction():
        superuser.execute("SET LOCAL ROLE tenure_owner")
        for n in range(40):
            superuser.execute(sql.SQL("CREATE TABLE {} (a int)").format(sql.Identifier(acme.context.key, f"more_{n}")))
    ((large,),) = superuser.execute("SELECT lo_from_bytea(0, 'x')").fetchall()
    superuser.execute(f"ALTER LARGE OBJECT {large} OWNER TO {acme.context.key}".encode())
    assert counted(all_of(acme), ["schema"])["local-1:tenure_cluster large objects"] == 1
    before = acme.count()
    superuser.execute(f"CREATE VIEW public.outside AS SELECT name FROM {acme.context.key}.projects_tag")
    try:
        assert [each.code for each in verifier_of("schema").blockers(all_of(acme))] == ["DEPENDED_ON_FROM_OUTSIDE"]
        with pytest.raises(DependedOn, match="outside"):
            erased(all_of(acme), ["schema"])
        assert acme.count() == before
    finally:
        superuser.execute("DROP VIEW public.outside")
    leases = []
    erased(all_of(acme), ["schema"], lease=lambda: leases.append(1))
    assert len(leases) >= 4, "forty tables and those of the release are three batches, and then the schema"
    assert counted(all_of(acme), ["schema"]) == {}


def test_a_database_goes_whatever_holds_on_to_it(tenant: MakeTenant, superuser: psycopg.Connection) -> None:
    acme = tenant("acme", Tier.DATABASE)
    with closing(tiers.connect(acme.context)) as own:
        own.execute("SELECT 1")
        url = psycopg.conninfo.make_conninfo(
            superuser.info.dsn, password=superuser.info.password, dbname=acme.context.key
        )
        with psycopg.connect(url, autocommit=True) as inside:
            inside.execute("SELECT pg_create_logical_replication_slot('kept', 'pgoutput')")
            inside.execute(
                "CREATE SUBSCRIPTION taken CONNECTION 'dbname=nowhere' PUBLICATION p"
                " WITH (connect = false, slot_name = NONE, enabled = false)"
            )
        assert [each.code for each in verifier_of("database").blockers(all_of(acme))] == ["DATABASE_HELD"] * 2
        with pytest.raises(DatabaseHeld, match="subscription taken"):
            erased(all_of(acme), ["database"])
        with psycopg.connect(url, autocommit=True) as inside:
            inside.execute("DROP SUBSCRIPTION taken")
        with pytest.raises(DatabaseHeld, match="slot kept"):
            erased(all_of(acme), ["database"])
        superuser.execute("SELECT pg_drop_replication_slot('kept')")
        erased(all_of(acme))
    assert counted(all_of(acme)) == {}


def test_a_role_goes_with_what_it_was_given_in_another_database(
    tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme, globex = tenant("acme"), tenant("globex", Tier.DATABASE)
    url = psycopg.conninfo.make_conninfo(
        superuser.info.dsn, password=superuser.info.password, dbname=globex.context.key
    )
    with psycopg.connect(url, autocommit=True) as inside:
        inside.execute(f"SET ROLE tenure_owner; GRANT USAGE ON SCHEMA tenure_tenant TO {acme.context.key}")
    assert globex.findings() == ["WRONG_GRANT"]
    superuser.execute("INSERT INTO tenure.replay VALUES (%s, gen_random_uuid(), 1)", (acme.context.key,))
    scope = all_of(acme)
    assert len(counted(scope, ["roles"])) == 2
    assert erased(scope, ["schema", "roles"]) > 2
    assert counted(scope) == {}
    assert globex.findings() == []
