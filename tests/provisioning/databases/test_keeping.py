"""How the guard remembers whom it let in, attacked: by a parameter that only it may set, and by a seal."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from controlplane.stack.embedded import Stack
from provisioning.databases import guard, keeping, reach
from provisioning.databases.fitness import check_cluster
from provisioning.databases.keeping import PARAMETER, Keeps
from provisioning.databases.servers import url_of
from tenants.context import TenantContext
from tests.pool_by_hand import DATABASE, SCHEMA, PoolByHand
from tests.provisioning.databases.guarded import Session, enter, install, names

SEAL = "SELECT current_setting('tenure.seal', true)"
KEPT = sql.SQL(f"SELECT current_setting('{PARAMETER}')")

# Each would make the transaction globex's. `{hex}` is globex's id as the guard writes it.
TAKE_THE_PARAMETER = {
    "set": "SET " + PARAMETER + " = '{hex}'",
    "set for the transaction": "SET LOCAL " + PARAMETER + " = '{hex}'",
    "set by function": "SELECT set_config('" + PARAMETER + "', '{hex}', true)",
    "set for the session by function": "SELECT set_config('" + PARAMETER + "', '{hex}', false)",
    "set in the select list": f"SELECT name, set_config('{PARAMETER}', '{{hex}}', true) FROM {SCHEMA}.projects_tag",
    "set by the view": f"UPDATE pg_settings SET setting = '{{hex}}' WHERE name = '{PARAMETER}'",
    "set for its role": "ALTER ROLE CURRENT_USER SET " + PARAMETER + " = '{hex}'",
    "set for the database": "ALTER DATABASE " + DATABASE + " SET " + PARAMETER + " = '{hex}'",
    "set in a block": "DO $$ BEGIN PERFORM set_config('" + PARAMETER + "', '{hex}', true); END $$",
    "reset": "RESET " + PARAMETER,
    "give away": "GRANT SET ON PARAMETER " + PARAMETER + " TO PUBLIC",
    "be admitted": "SELECT tenure_guard.admit('{id}', '1')",
}


def as_written(text: str, context: TenantContext) -> str:
    return text.format(hex=context.tenant_id.hex, id=context.tenant_id)


class TestAParameterOfItsOwn:
    def test_is_what_a_server_of_the_embedded_stack_allows(self, by_hand: PoolByHand) -> None:
        with by_hand.provisioner() as connection:
            assert guard.best(connection) is Keeps.PARAMETER

    @pytest.mark.parametrize("text", TAKE_THE_PARAMETER.values(), ids=TAKE_THE_PARAMETER.keys())
    def test_cannot_be_set_by_a_session(self, text: str, by_hand: PoolByHand, session: Session) -> None:
        with session.transaction(force_rollback=True):
            enter(session, by_hand.acme)
            with pytest.raises(InsufficientPrivilege), session.transaction():
                session.execute(as_written(text, by_hand.globex))
            assert session.execute(KEPT).fetchone() == (by_hand.acme.tenant_id.hex,)
            assert names(session) == ["a"]

    def test_cannot_be_set_for_the_server(self, by_hand: PoolByHand, session: Session) -> None:
        with pytest.raises(InsufficientPrivilege):
            session.execute(as_written(f"ALTER SYSTEM SET {PARAMETER} = '{{hex}}'", by_hand.globex))

    def test_cannot_come_with_a_connection(self, by_hand: PoolByHand) -> None:
        """The control: another option does."""
        with closing(by_hand.login(options="-c extra_float_digits=0")) as session:
            assert session.execute("SHOW extra_float_digits").fetchone() == ("0",)
        with pytest.raises(psycopg.OperationalError, match="permission denied to set parameter"):
            by_hand.login(options=f"-c {PARAMETER}={by_hand.globex.tenant_id.hex}")

    @pytest.mark.parametrize("text", ["RESET ALL", "ROLLBACK TO before", "COMMIT"])
    def test_is_empty_when_the_context_is_taken_away(self, text: str, by_hand: PoolByHand, session: Session) -> None:
        session.execute("BEGIN; SAVEPOINT before")
        enter(session, by_hand.acme)
        assert names(session) == ["a"]
        session.execute(text)
        with pytest.raises(InsufficientPrivilege, match="no context"):
            names(session)
        session.execute("ROLLBACK")

    def test_answers_by_the_index_and_in_parallel_workers(self, by_hand: PoolByHand, session: Session) -> None:
        """A call that were left standing would be asked row by row; a worker has the leader's context."""
        with session.transaction(force_rollback=True):
            enter(session, by_hand.acme)
            session.execute("SET LOCAL enable_seqscan = off")
            plan = session.execute(f"EXPLAIN (COSTS OFF) SELECT name FROM {SCHEMA}.projects_tag").fetchall()
            assert any("Index Cond: (tenant_id = " in line and "backtrace_functions" in line for (line,) in plan), plan
        with session.transaction(force_rollback=True):
            enter(session, by_hand.acme)
            session.execute("SET LOCAL debug_parallel_query = on; SET LOCAL min_parallel_table_scan_size = 0")
            assert names(session) == ["a"]

    def test_of_a_tenants_role_is_a_finding(self, by_hand: PoolByHand, stack: Stack) -> None:
        def found() -> list[str]:
            with by_hand.provisioner() as connection:
                return [each.code for each in reach.too_mighty(connection, by_hand.role, group=by_hand.group)]

        with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
            superuser.execute(f"GRANT SET ON PARAMETER {PARAMETER} TO PUBLIC")
            try:
                assert "ROLE_SETS_CONTEXT" in found()
            finally:
                superuser.execute(f"REVOKE SET ON PARAMETER {PARAMETER} FROM PUBLIC")
        assert "ROLE_SETS_CONTEXT" not in found()

    def test_is_asked_for_where_it_was_not_lent(self, by_hand: PoolByHand, stack: Stack) -> None:
        def cures() -> list[str]:
            findings = check_cluster(url_of(by_hand.cluster))
            return [each.hint.partition(": ")[2] for each in findings if each.code == "CONTEXT_IS_SEALED"]

        assert cures() == []
        with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
            superuser.execute(f"REVOKE SET ON PARAMETER {PARAMETER} FROM tenure_provisioner CASCADE")
            try:
                with by_hand.provisioner() as connection:
                    assert guard.best(connection) is Keeps.SEAL
                superuser.execute(sql.SQL(cures()[0]))  # what a person would paste
            finally:
                superuser.execute(keeping.lend("tenure_provisioner"))
                install(by_hand)
        assert cures() == []


class TestASeal:
    @pytest.fixture(autouse=True)
    def sealed(self, by_hand: PoolByHand, session: Session) -> Iterator[None]:
        install(by_hand, Keeps.SEAL)
        yield
        install(by_hand, Keeps.PARAMETER)

    def test_that_was_edited_is_refused(self, by_hand: PoolByHand, session: Session) -> None:
        with session.transaction(force_rollback=True):
            enter(session, by_hand.acme)
            ((seal,),) = session.execute(SEAL).fetchall()
            for forged in forged_seals(seal, by_hand.globex).values():
                session.execute("SELECT set_config('tenure.seal', %s, true)", (forged,))
                with pytest.raises(InsufficientPrivilege, match="bad seal"), session.transaction():
                    names(session)
            session.execute("SELECT set_config('tenure.seal', '', true)")
            with pytest.raises(InsufficientPrivilege, match="no context"), session.transaction():
                names(session)
            session.execute("SELECT set_config('tenure.seal', %s, true)", (seal,))
            assert names(session) == ["a"]

    def test_of_before_is_refused_in_a_later_transaction_and_in_another_session(
        self, by_hand: PoolByHand, session: Session
    ) -> None:
        with session.transaction():
            enter(session, by_hand.globex)
            ((seal,),) = session.execute(SEAL).fetchall()
        session.execute("SELECT set_config('tenure.seal', %s, false)", (seal,))
        with pytest.raises(InsufficientPrivilege, match="bad seal"):
            names(session)
        with closing(by_hand.login()) as other:
            other.execute("SELECT set_config('tenure.seal', %s, false)", (seal,))
            with pytest.raises(InsufficientPrivilege, match="bad seal"):
                names(other)

    def test_cannot_be_replaced_while_a_statement_runs(self, by_hand: PoolByHand, session: Session) -> None:
        """By one that is no good: the next row is refused. (Whoever had a good one would be its tenant anyway.)"""
        with session.transaction(force_rollback=True):
            enter(session, by_hand.acme)
            session.execute(
                f"INSERT INTO {SCHEMA}.projects_tag (name) SELECT 'a' || i FROM generate_series(1, 50) AS i"
            )
            session.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
            session.execute("SET LOCAL enable_indexonlyscan = off")
            edited = f"'{by_hand.globex.tenant_id}' || substr(current_setting('tenure.seal'), 37)"
            other = f"set_config('tenure.seal', {edited}, true)"
            with pytest.raises(InsufficientPrivilege, match="bad seal"), session.transaction():
                session.execute(f"SELECT name, {other} FROM {SCHEMA}.projects_tag")
            assert len(names(session)) == 51


def forged_seals(seal: str, globex: TenantContext) -> dict[str, str]:
    return {
        "the tenant is another": str(globex.tenant_id) + seal[36:],
        "the mac is made up": seal[:37] + secrets.token_hex(32) + seal[101:],
        "the key does not exist": seal[:102] + "7",
        "it is long": "x" * 10_000,
        "it is SQL": seal[:36] + "' or 1=1 --",
    }
