"""Pools: laid out whole or not at all, and what their tenants share without noticing each other."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from django.db import connections
from psycopg import sql

from provisioning.databases import guard, pool_layout, pool_rows, roles, tiers
from provisioning.databases.pool import FormerLife
from provisioning.databases.pool_layout import PoolNameInUse
from provisioning.databases.roles import LoginRole, RoleIsShared, enter, log_in
from provisioning.databases.tiers import TenantDatabase
from tenants.isolation.tickets import mint
from tenants.models import Pool
from tenants.placement import pool_group, pool_role
from tenants.states import Tier
from tests.fleet import BILLING
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import make_tenant, new_claim

OPEN = "SELECT open FROM tenure_guard.placement WHERE tenant = %s"
ENOUGH_TO_REMOVE_S = 1  # for somebody who did not wait
TAG = "INSERT INTO projects_tag (name) VALUES (%s) RETURNING id"


def roles_of(superuser: psycopg.Connection, pool: Pool) -> set[str]:
    names = [pool_role(pool.pk), pool_group(pool.pk)]
    return {name for (name,) in superuser.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (names,))}


def test_laying_out_at_once_and_again_makes_one_pool(own_pool: Pool) -> None:
    def lay_out(_turn: int) -> None:
        try:
            pool_layout.lay_out(own_pool)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lay_out, range(3)))


def test_a_layout_that_fails_leaves_nothing(
    house: None, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool.objects.get()
    pool.pk, pool.schema, pool.ready_at = uuid4(), "pool_9", None
    pool.sealed_password = b"sealed for another pool"
    pool.save(force_insert=True)
    with pytest.raises(Exception, match="seal"):
        pool_layout.lay_out(pool)
    assert roles_of(superuser, pool) == set()
    assert superuser.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'pool_9'").fetchall() == []


def test_a_schema_that_is_not_this_pools_is_left_alone(house: None, superuser: psycopg.Connection) -> None:
    pool = Pool.objects.get()
    other = Pool(pk=uuid4(), cluster=pool.cluster, schema=pool.schema, release=pool.release)
    with pytest.raises(PoolNameInUse, match="pool_1"):
        pool_layout.lay_out(other)
    assert roles_of(superuser, other) == set()


def test_a_table_born_in_a_pool_is_closed_to_its_tenants(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", Tier.POOL)
    table = sql.Identifier(own_pool.schema, "later")
    superuser.execute(sql.SQL("CREATE TABLE {} (id int); ALTER TABLE {} OWNER TO tenure_owner").format(table, table))
    with tiers.connect(acme.context) as session, pytest.raises(psycopg.errors.InsufficientPrivilege, match="later"):
        session.execute("SELECT * FROM later")
    assert any(code.startswith("POOL_") for code in acme.findings())


def test_ids_rise_across_tenants_and_never_fall(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    with tiers.connect(acme.context) as session:
        ((first,),) = session.execute(TAG, ("first",)).fetchall()
    globex = tenant("globex", Tier.POOL)
    with tiers.connect(acme.context) as session:
        ((second,),) = session.execute(TAG, ("second",)).fetchall()
    with tiers.connect(globex.context) as session:
        assert session.execute("SELECT max(id) FROM projects_tag").fetchall() == [(4,)]
    assert second > first


def test_an_earlier_life_is_not_mistaken_for_this_one(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    next_life = replace(acme.context, incarnation=uuid4())
    with pytest.raises(FormerLife):
        TenantDatabase().provision(next_life, acme.database, claim=new_claim())
    TenantDatabase().deprovision(next_life, acme.database, claim=new_claim())  # of this life there is nothing
    assert (acme.findings(), acme.count()) == ([], 44)


def test_triggers_of_the_application_sleep_while_seed_rows_come(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    """What they did is in the rows already: in the other tiers they are made after the rows."""
    pool_rows._texts.clear()
    names = {"schema": sql.Identifier(own_pool.schema)}
    superuser.execute(
        sql.SQL(
            "CREATE FUNCTION {schema}.shout() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;"
            "CREATE TRIGGER shout BEFORE INSERT ON {schema}.projects_tag FOR EACH ROW EXECUTE FUNCTION {schema}.shout()"
        ).format(**names)
    )
    try:
        acme = tenant("acme", Tier.POOL)
        with tiers.connect(acme.context) as session:
            assert session.execute("SELECT count(*) FROM projects_tag WHERE name = upper(name)").fetchall() == [(0,)]
            session.execute(TAG, ("own",))
            assert session.execute("SELECT count(*) FROM projects_tag WHERE name = 'OWN'").fetchall() == [(1,)]
    finally:
        pool_rows._texts.clear()


def test_a_role_of_its_own_enters_as_its_tenant_alone_whatever_it_can_sign(tenant: MakeTenant) -> None:
    acme, globex = (tenant(slug, Tier.POOL, own_role=True) for slug in ("acme", "globex"))
    assert (acme.role["role"], acme.findings()) == (acme.context.key, [])
    with log_in(acme.context, *LoginRole().login(acme.context, acme.role)) as session:
        enter(session, acme.context)
        assert session.execute("SELECT count(*) FROM projects_tag").fetchall() == [(4,)]
    theirs = mint(globex.context, guard.context_key(globex.context))
    with (
        log_in(acme.context, *LoginRole().login(acme.context, acme.role)) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="role of another tenant"),
    ):
        session.execute(guard.ENTER, theirs)


CHANGED = {
    "search path": ("SET search_path = pg_catalog", "ROLE_SETTINGS_CHANGED"),
    "search path, here": ("IN DATABASE tenure_cluster SET search_path = pg_catalog", "ROLE_SETTINGS_CHANGED"),
    "time limit": ("SET statement_timeout = 0", "ROLE_SETTINGS_CHANGED"),
    "something else": ("SET default_transaction_read_only = on", "ROLE_SETTINGS_CHANGED"),
    "password": ("PASSWORD 'guessed'", "ROLE_CANNOT_LOG_IN"),
}


@pytest.mark.parametrize(("change", "code"), CHANGED.values(), ids=CHANGED.keys())
def test_what_the_shared_role_changes_of_itself_is_told_and_put_back(
    change: str, code: str, own_pool: Pool, tenant: MakeTenant
) -> None:
    """After a SQL injection: PostgreSQL lets every role alter itself so far."""
    acme = tenant("acme", Tier.POOL)
    role = sql.Identifier(pool_role(own_pool.pk))
    with tiers.connect(acme.context) as session:
        session.execute(sql.SQL("ALTER ROLE {} " + change).format(role))
    roles.look_again()
    (found,) = LoginRole().verify(acme.context, acme.role)
    assert (found.code, "Rotate the pool's password" in found.hint) == (code, True)
    pool_layout.rotate_password(own_pool, BILLING)
    assert acme.findings() == []


def test_rows_of_a_transaction_under_way_go_with_the_others(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    """It came in before the door closed, and may finish: nothing of it stays behind."""

    def remove() -> None:
        try:
            TenantDatabase().deprovision(acme.context, acme.database, claim=new_claim())
        finally:
            connections.close_all()

    acme, deadline = tenant("acme", Tier.POOL), time.monotonic() + 30
    with tiers.connect(acme.context) as session, ThreadPoolExecutor(1) as thread:
        session.execute(TAG, ("late",))
        removed = thread.submit(remove)
        while superuser.execute(OPEN, (acme.context.tenant_id,)).fetchone() == (True,):
            assert time.monotonic() < deadline
        wait([removed], timeout=ENOUGH_TO_REMOVE_S)
        session.commit()
        removed.result(timeout=30)
    tags = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(own_pool.schema, "projects_tag"))
    assert superuser.execute(tags).fetchone() == (0,)
    assert superuser.execute(OPEN, (acme.context.tenant_id,)).fetchone() is None


def test_the_shared_roles_password_is_no_tenants_to_rotate(house: None) -> None:
    acme = make_tenant("acme", Tier.POOL)
    with pytest.raises(RoleIsShared):
        LoginRole().rotate(acme.context, acme.role, claim=new_claim())
