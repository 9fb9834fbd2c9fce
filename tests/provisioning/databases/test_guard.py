"""The guard under attack: plain SQL through the login role that a pool's tenants share, as after a SQL injection."""

import math
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import (
    FeatureNotSupported,
    ForeignKeyViolation,
    InsufficientPrivilege,
    UniqueViolation,
)

from controlplane.stack.embedded import Stack
from provisioning.databases import ddl, guard, signing
from provisioning.databases.fitness import check_cluster, prepare_cluster
from provisioning.databases.keeping import Keeps
from provisioning.databases.servers import run, url_of
from tenants.context import TenantContext
from tenants.isolation.tickets import ERASE, ContextKey, mint
from tests.pool_by_hand import DATABASE, SCHEMA, PoolByHand
from tests.provisioning.databases.guarded import ENTER, INSERT, NAMES, Session, enter, install, names, ticket

pytestmark = pytest.mark.long


@pytest.fixture(params=Keeps, ids=str, autouse=True)
def keeps(request: pytest.FixtureRequest, by_hand: PoolByHand) -> Iterator[Keeps]:
    """Every test is about a guard that has a parameter of its own, and about one that has not."""
    keeps: Keeps = request.param
    install(by_hand, keeps)
    yield keeps
    install(by_hand, Keeps.PARAMETER)


def test_with_a_ticket_a_transaction_sees_its_own_rows(by_hand: PoolByHand, session: Session) -> None:
    for context, own in ((by_hand.acme, ["a"]), (by_hand.globex, ["g"])):
        with session.transaction():
            enter(session, context)
            assert names(session) == own


def test_without_a_context_nothing_is_read(by_hand: PoolByHand, session: Session) -> None:
    with pytest.raises(InsufficientPrivilege, match="no context"):
        names(session)
    with pytest.raises(InsufficientPrivilege, match="no context"):
        session.execute(INSERT, ("x",))


def test_the_context_ends_with_its_transaction(by_hand: PoolByHand, session: Session) -> None:
    with session.transaction():
        enter(session, by_hand.acme)
    with pytest.raises(InsufficientPrivilege, match="no context"):
        names(session)


def test_the_context_does_not_survive_a_rollback_to_before_it(by_hand: PoolByHand, session: Session) -> None:
    with session.transaction(force_rollback=True):
        session.execute("SAVEPOINT before")
        enter(session, by_hand.acme)
        assert names(session) == ["a"]
        session.execute("ROLLBACK TO before")
        with pytest.raises(InsufficientPrivilege, match="no context"):
            names(session)


def test_a_ticket_that_was_edited_or_is_out_of_time_is_refused(by_hand: PoolByHand, session: Session) -> None:
    good = ticket(by_hand.acme)
    unsigned = mint(by_hand.globex, ContextKey("1", secrets.token_bytes(32)))
    attempts: list[tuple[tuple[Any, ...], str]] = [
        (good._replace(tenant=by_hand.globex.tenant_id, incarnation=by_hand.globex.incarnation), "forged"),
        (good._replace(incarnation=uuid4()), "forged"),
        (good._replace(purpose=ERASE), "forged"),
        (good._replace(expires=good.expires + 1), "forged"),
        (good._replace(expires=2**62), "forged"),  # too late for a timestamp
        (good._replace(key_version="7"), "forged"),
        (unsigned, "forged"),
        (ticket(by_hand.acme, lifetime_s=-1), "expired"),
        (ticket(by_hand.acme, lifetime_s=90), "expired"),
        *(((*good[:part], None, *good[part + 1 :]), "forged") for part in range(len(good))),
    ]
    for attempt, reason in attempts:
        with pytest.raises(InsufficientPrivilege, match=f"{reason} ticket"):
            session.execute(ENTER, attempt)
    session.execute(ENTER, good)


def test_the_key_of_one_tenants_life_signs_for_no_other(by_hand: PoolByHand, session: Session) -> None:
    key = guard.context_key(by_hand.acme)
    for context in (by_hand.globex, replace(by_hand.acme, incarnation=uuid4())):
        with pytest.raises(InsufficientPrivilege, match="forged ticket"):
            session.execute(ENTER, mint(context, key))
    session.execute(ENTER, mint(by_hand.acme, key))


def test_behind_a_closed_door_nobody_works(by_hand: PoolByHand, session: Session) -> None:
    elsewhere = replace(by_hand.acme, tenant_id=uuid4())
    for context in (by_hand.initech, elsewhere):
        with pytest.raises(InsufficientPrivilege, match="not open here"):
            enter(session, context)


def test_to_erase_the_provisioner_enters_by_a_closed_door(by_hand: PoolByHand, session: Session) -> None:
    with by_hand.provisioner() as connection:
        with pytest.raises(InsufficientPrivilege, match="not open here"), connection.transaction():
            guard.enter(connection, by_hand.acme, ERASE)
        guard.close_door(connection, by_hand.acme)
        try:
            with connection.transaction():
                guard.enter(connection, by_hand.acme, ERASE)
                assert connection.execute(NAMES).fetchall() == [("a",)]
                assert connection.execute(f"DELETE FROM {SCHEMA}.projects_tag").rowcount == 1
        finally:
            guard.open_door(connection, by_hand.acme)
    with session.transaction():
        enter(session, by_hand.globex)
        assert names(session) == ["g"]


def test_no_application_enters_to_erase(by_hand: PoolByHand, session: Session) -> None:
    """Not even with the tenant's own key: behind a closed door nothing of it may change any more."""
    with by_hand.provisioner() as connection, closing(by_hand.login(role=by_hand.acme.key)) as own:
        for change_door in (guard.close_door, guard.open_door):
            change_door(connection, by_hand.acme)
            for application in (session, own):
                with pytest.raises(InsufficientPrivilege, match="no application erases"):
                    enter(application, by_hand.acme, purpose=ERASE)


ANOTHER_ROLE = {
    "the owner": "SET ROLE tenure_owner",
    "the guard": "SET ROLE tenure_guard",
    "the verifier": "SET ROLE tenure_verifier",
    "the superuser": "SET ROLE postgres",
    "the pool's group": "SET ROLE {group}",
    "another tenant": "SET ROLE {tenant}",
    "another login": "SET SESSION AUTHORIZATION tenure_owner",
}


@pytest.mark.parametrize("statement", ANOTHER_ROLE.values(), ids=ANOTHER_ROLE.keys())
def test_the_role_of_a_session_cannot_be_changed(statement: str, by_hand: PoolByHand, session: Session) -> None:
    with pytest.raises(InsufficientPrivilege):
        session.execute(statement.format(group=by_hand.group, tenant=by_hand.acme.key))
    session.execute("RESET ROLE")
    assert session.execute("SELECT current_user, session_user").fetchone() == (by_hand.role, by_hand.role)


FORBIDDEN = {
    "read the keys": "SELECT * FROM tenure_guard.context_key",
    "write the keys": "INSERT INTO tenure_guard.context_key VALUES ('2', '', '')",
    "read the keys of tenants": "SELECT key FROM tenure_guard.ticket_key",
    "write the keys of tenants": "UPDATE tenure_guard.ticket_key SET open = true",
    "let itself in": "SELECT tenure_guard.let_in(true, 'use', NULL, NULL, 0, '1', '')",
    "read the doors": "SELECT * FROM tenure_guard.placement",
    "open a door": "UPDATE tenure_guard.placement SET open = true",
    "refuse in the guard's name": "SELECT tenure_guard.refuse('x')",
    "switch the policy off": f"ALTER TABLE {SCHEMA}.projects_tag DISABLE ROW LEVEL SECURITY",
    "drop the policy": f"DROP POLICY tenure ON {SCHEMA}.projects_tag",
    "add a policy": f"CREATE POLICY mine ON {SCHEMA}.projects_tag USING (true)",
    "truncate": f"TRUNCATE {SCHEMA}.projects_tag",
    "own the guard": "ALTER FUNCTION tenure_guard.tenant OWNER TO CURRENT_USER",
    "replace the guard": "CREATE OR REPLACE FUNCTION tenure_guard.tenant() RETURNS uuid"
    " LANGUAGE sql AS 'SELECT NULL::uuid'",
    "shadow a table": "CREATE TEMPORARY TABLE projects_tag (name text)",
    "shadow a function": "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    "make a schema": "CREATE SCHEMA mine",
    "make a table": f"CREATE TABLE {SCHEMA}.mine (name text)",
    "make a public table": "CREATE TABLE public.mine (name text)",
    "see other sessions": "SELECT query FROM pg_stat_activity",
    "see other sessions by function": "SELECT * FROM pg_stat_get_activity(NULL)",
    "see a session's query": "SELECT pg_stat_get_backend_activity(1)",
    "end a session": "SELECT pg_terminate_backend(1)",
    "cancel a query": "SELECT pg_cancel_backend(1)",
    "make a large object": "SELECT lo_from_bytea(0, 'x')",
    "open a large object": "SELECT lo_open(1, 131072)",
    "read a large object": "SELECT lo_get(1)",
    "write a large object": "SELECT lo_put(1, 0, 'x')",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "copy to a program": f"COPY {SCHEMA}.projects_tag TO PROGRAM 'true'",
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_a_tenants_session_may_not(statement: str, by_hand: PoolByHand, session: Session) -> None:
    with session.transaction(force_rollback=True):
        enter(session, by_hand.acme)
        with pytest.raises(InsufficientPrivilege), session.transaction():
            session.execute(statement)
        assert names(session) == ["a"]


def test_row_security_cannot_be_switched_off_for_a_session(by_hand: PoolByHand, session: Session) -> None:
    with session.transaction(force_rollback=True):
        enter(session, by_hand.acme)
        session.execute("SET LOCAL row_security = off")
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            names(session)


def test_rows_of_another_tenant_cannot_be_written(by_hand: PoolByHand, session: Session) -> None:
    globex = by_hand.globex.tenant_id
    with session.transaction(force_rollback=True):
        enter(session, by_hand.acme)
        for statement in (
            f"INSERT INTO {SCHEMA}.projects_tag (tenant_id, name) VALUES (%s, 'x')",
            f"UPDATE {SCHEMA}.projects_tag SET tenant_id = %s",
        ):
            with pytest.raises(InsufficientPrivilege, match="violates row-level security"), session.transaction():
                session.execute(statement, (globex,))
        for statement in ("UPDATE {} SET name = 'x' WHERE tenant_id = %s", "DELETE FROM {} WHERE tenant_id = %s"):
            assert session.execute(statement.format(f"{SCHEMA}.projects_tag"), (globex,)).rowcount == 0
        with pytest.raises(FeatureNotSupported), session.transaction():
            session.execute(f"COPY {SCHEMA}.projects_tag (name) FROM STDIN")
        assert session.execute(f"UPDATE {SCHEMA}.projects_tag SET name = 'b'").rowcount == 1


def test_what_is_unique_to_another_tenant_is_free_here(by_hand: PoolByHand, session: Session) -> None:
    with session.transaction(force_rollback=True):
        enter(session, by_hand.acme)
        session.execute(INSERT, ("g",))
        with pytest.raises(UniqueViolation), session.transaction():
            session.execute(INSERT, ("g",))


PARENT = f"""
    INSERT INTO {SCHEMA}.projects_project (name, description, created_at) VALUES ('p', '', now()) RETURNING id
"""
CHILD = f"""
    INSERT INTO {SCHEMA}.projects_document (project_id, file, title, size, uploaded_at) VALUES (%s, '', '', 0, now())
"""


def add_child(session: Session, context: TenantContext, parent: int) -> None:
    with session.transaction():
        enter(session, context)
        session.execute(CHILD, (parent,))


def test_a_child_cannot_hang_on_another_tenants_parent(by_hand: PoolByHand, session: Session) -> None:
    ids = {}
    for context in (by_hand.acme, by_hand.globex):
        with session.transaction():
            enter(session, context)
            ((ids[context.slug],),) = session.execute(PARENT).fetchall()
    with pytest.raises(ForeignKeyViolation):
        add_child(session, by_hand.acme, ids["globex"])
    add_child(session, by_hand.acme, ids["acme"])


def test_a_swallowed_refusal_gives_no_rows_and_stands_in_the_servers_log(
    by_hand: PoolByHand, session: Session, stack: Stack
) -> None:
    ((pid,),) = session.execute("SELECT pg_backend_pid()").fetchall()
    swallowed = f"DO $$ BEGIN PERFORM name FROM {SCHEMA}.projects_tag; EXCEPTION WHEN OTHERS THEN NULL; END $$"
    session.execute(swallowed)
    log = (stack.folder / "logs" / "postgres.log").read_text()
    assert f"tenure: refused: no context (role {by_hand.role}, pid {pid})" in log


def test_a_tenants_own_login_role_enters_as_itself_alone(by_hand: PoolByHand, session: Session) -> None:
    with closing(by_hand.login(role=by_hand.acme.key)) as own, own.transaction():
        with pytest.raises(InsufficientPrivilege, match="role of another tenant"), own.transaction():
            enter(own, by_hand.globex)
        enter(own, by_hand.acme)
        assert names(own) == ["a"]


def test_a_data_migration_without_a_context_fails_instead_of_finding_no_rows(by_hand: PoolByHand) -> None:
    with by_hand.provisioner() as connection, connection.transaction(force_rollback=True):
        run(connection, f"SET LOCAL ROLE {ddl.OWNER}")
        with pytest.raises(InsufficientPrivilege, match="no context"), connection.transaction():
            run(connection, f"UPDATE {SCHEMA}.projects_tag SET name = 'x'")
        guard.enter(connection, by_hand.acme)
        run(connection, f"INSERT INTO {SCHEMA}.projects_tag (name) VALUES ('as the tenant')")
        assert run(connection, f"SELECT tenant_id FROM {SCHEMA}.projects_tag") == [(by_hand.acme.tenant_id,)]


def test_the_guard_belongs_to_a_role_that_nobody_is(by_hand: PoolByHand) -> None:
    with by_hand.provisioner() as connection:
        assert run(
            connection,
            """
            SELECT rolcanlogin, rolsuper, rolbypassrls,
                   (SELECT array_agg(DISTINCT member::regrole::text) FROM pg_auth_members WHERE roleid = r.oid)
            FROM pg_roles r WHERE rolname = %s
            """,
            ddl.GUARD,
        ) == [(False, False, False, ["tenure_provisioner"])]
        owners = (
            "SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'tenure_guard'::regnamespace"
        )
        assert run(connection, owners) == [(ddl.GUARD,)]
        readers = "SELECT rolname::text FROM pg_roles WHERE NOT rolsuper AND rolname NOT LIKE 'pg\\_%%' AND "
        for has in (
            "has_any_column_privilege(oid, 'tenure_guard.context_key', 'SELECT, INSERT, UPDATE')",
            "has_column_privilege(oid, 'tenure_guard.ticket_key', 'key', 'SELECT, INSERT, UPDATE')",
            "has_any_column_privilege(oid, 'tenure_guard.ticket_key', 'INSERT, UPDATE')",
        ):
            assert run(connection, readers + has) == [(ddl.GUARD,)]


def test_installing_again_changes_nothing_that_was_good(by_hand: PoolByHand, session: Session) -> None:
    before = ticket(by_hand.acme)
    prepare_cluster(by_hand.cluster)
    session.execute(ENTER, before)
    with pytest.raises(InsufficientPrivilege):
        enter(session, by_hand.initech)


def test_keys_are_exchanged_version_by_version(by_hand: PoolByHand, session: Session, keeps: Keeps) -> None:
    """A seal ends with its key; what a parameter keeps ends with its transaction, for which `finish` waits."""
    of_one = ticket(by_hand.acme)
    with by_hand.provisioner() as connection, session.transaction():
        session.execute(ENTER, of_one)
        by_hand.cluster.context_version = 2
        signs = signing.believe(by_hand.cluster, for_s=math.inf)
        guard.add_version(connection, cluster=by_hand.cluster, database=DATABASE, signs=signs)
        of_two = ticket(by_hand.acme)
        for good in (of_one, of_two):
            with closing(by_hand.login()) as other:
                other.execute(ENTER, good)
        assert names(session) == ["a"]
        guard.keep_version(connection, version="2")
        try:
            if keeps is Keeps.SEAL:
                with pytest.raises(InsufficientPrivilege, match="bad seal"), session.transaction():
                    names(session)
            with closing(by_hand.login()) as other:
                with pytest.raises(InsufficientPrivilege, match="forged ticket"):
                    other.execute(ENTER, of_one)
                other.execute(ENTER, of_two)
        finally:
            by_hand.cluster.context_version = 1
            signing.believe(by_hand.cluster, for_s=math.inf)
            install(by_hand, keeps)
            guard.keep_version(connection, version="1")


def test_a_new_life_closes_the_former_ones_door(by_hand: PoolByHand, session: Session) -> None:
    reborn = replace(by_hand.acme, incarnation=uuid4())
    with by_hand.provisioner() as connection:
        guard.open_door(connection, reborn)
        try:
            with pytest.raises(InsufficientPrivilege, match="not open here"):
                enter(session, by_hand.acme)
            enter(session, reborn)
            guard.forget(connection, reborn)
            with pytest.raises(InsufficientPrivilege, match="not open here"):
                enter(session, reborn)
        finally:
            guard.open_door(connection, by_hand.acme)


def test_public_has_no_right_to_make_anything(by_hand: PoolByHand) -> None:
    with by_hand.provisioner() as connection:
        for right in ("CONNECT", "TEMP", "CREATE"):
            asked = run(connection, "SELECT has_database_privilege('public', current_database(), %s)", right)
            assert asked == [(False,)]


def test_a_server_that_shows_sessions_to_everybody_is_doubtful(by_hand: PoolByHand, stack: Stack) -> None:
    url = f"{stack.superuser_url.rsplit('/', 1)[0]}/{DATABASE}"

    def cures() -> list[str]:
        findings = check_cluster(url_of(by_hand.cluster))
        return [each.hint.partition(": ")[2] for each in findings if each.code == "SESSIONS_OPEN_TO_ALL"]

    assert cures() == []
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("GRANT EXECUTE ON FUNCTION lo_get(oid) TO PUBLIC")
        superuser.execute(sql.SQL(cures()[0]))  # what a person would paste
    assert cures() == []
