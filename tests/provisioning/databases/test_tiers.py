"""The contract of every tier: what is made, what is found wrong with it, and that it goes again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import pytest
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning.databases import tiers
from provisioning.databases.ddl import OWNER
from provisioning.databases.layout import TemplateGone, template_name
from provisioning.databases.pooling import SHARED_TABLES
from provisioning.databases.releases import current_release, release_named
from provisioning.databases.roles import log_in
from provisioning.databases.servers import ServerUnavailable, connect
from provisioning.databases.tiers import LoginRole, TenantDatabase
from provisioning.models import Secret
from tenants.models import Cluster
from tenants.states import Tier
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made, make_tenant, new_claim

pytestmark = pytest.mark.long

T = TypeVar("T")
every_tier = pytest.mark.parametrize("tier", Tier)
own_tables = pytest.mark.parametrize("tier", [Tier.SCHEMA, Tier.DATABASE])
# Who may log in: a tenant's own role, or the one its pool shares.
every_role = pytest.mark.parametrize(
    ("tier", "own_role"),
    [(Tier.SCHEMA, False), (Tier.DATABASE, False), (Tier.POOL, True)],
    ids=["schema", "database", "pool with a role of its own"],
)


@pytest.fixture
def place(tier: Tier, request: pytest.FixtureRequest) -> None:
    """Where tables that a test spoils are nobody else's."""
    if tier == Tier.POOL:
        request.getfixturevalue("own_pool")


def as_owner(made: Made, statement: str) -> None:
    """What a careless administrator might do, in the schema that the tenant's rows are in."""
    cluster = Cluster.objects.get(name=made.context.cluster)
    granted = made.role.get("group", made.context.key)
    with connect(cluster, database=made.context.database) as connection:
        words = {"schema": made.context.schema, "role": granted, "database": made.context.database}
        names = {word: sql.Identifier(name) for word, name in words.items()}
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        connection.execute(sql.SQL(statement).format(**names))


def servers_view(superuser: psycopg.Connection, made: Made) -> list[str]:
    """Everything on the server that has the tenant's name, and its door into a pool."""
    return [
        str(name)
        for (name,) in superuser.execute(
            "SELECT 'role ' || rolname FROM pg_roles WHERE rolname = %(key)s"
            " UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = %(key)s"
            " UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname = %(key)s"
            " UNION ALL SELECT 'door ' || tenant FROM tenure_guard.placement WHERE tenant = %(id)s"
            " UNION ALL SELECT 'ticket key ' || tenant FROM tenure_guard.ticket_key WHERE tenant = %(id)s ORDER BY 1",
            {"key": made.context.key, "id": made.context.tenant_id},
        )
    ]


@every_tier
def test_making_it_twice_is_making_it_once(tier: Tier, tenant: MakeTenant) -> None:
    acme = tenant("acme", tier)
    before = acme.count()
    acme.provision()
    assert (acme.findings(), acme.count()) == ([], before)


@every_tier
def test_a_copy_has_the_releases_shape_and_rows(tier: Tier, tenant: MakeTenant) -> None:
    acme = tenant("acme", tier)
    release = current_release()
    assert release is not None
    pooled = tier == Tier.POOL
    assert tiers.fingerprint(acme.context) == (release.pool_fingerprint if pooled else release.fingerprint)
    shared = SHARED_TABLES if pooled else frozenset()
    assert acme.count() == sum(table["rows"] for table in release.seed if table["table"] not in shared)


@every_tier
def test_the_tenants_first_row_does_not_meet_a_seed_rows_id(tier: Tier, tenant: MakeTenant) -> None:
    with tiers.connect(tenant("acme", tier).context) as session:
        ((highest,),) = session.execute("SELECT max(id) FROM projects_tag").fetchall()
        ((own,),) = session.execute("INSERT INTO projects_tag (name) VALUES ('own') RETURNING id").fetchall()
    assert highest == 4
    assert own > 4
    assert tier == Tier.POOL or own == 5


@own_tables
def test_the_role_reaches_what_a_later_migration_adds(tier: Tier, tenant: MakeTenant) -> None:
    acme = tenant("acme", tier)
    as_owner(acme, "CREATE TABLE {schema}.later (id bigint GENERATED ALWAYS AS IDENTITY, word text)")
    with tiers.connect(acme.context) as session:
        assert session.execute("INSERT INTO later (word) VALUES ('new') RETURNING id").fetchall() == [(1,)]


# What somebody may have done by hand, and what verifying says of it.
FAULTS = {
    "a column dropped": ("ALTER TABLE {schema}.projects_project DROP description", "SHAPE_DIFFERS"),
    "a table for everybody": ("GRANT SELECT ON {schema}.projects_project TO PUBLIC", "WRONG_GRANT"),
    "a right too many": ("GRANT TRUNCATE ON {schema}.projects_project TO {role}", "WRONG_GRANT"),
    "a right too few": ("REVOKE DELETE ON {schema}.projects_project FROM {role}", "GRANT_MISSING"),
    "a table hidden from the verifier": ("REVOKE SELECT ON {schema}.auth_user FROM tenure_verifier", "GRANT_MISSING"),
    "a schema to build in": ("GRANT CREATE ON SCHEMA {schema} TO {role}", "WRONG_GRANT"),
}


@every_tier
@pytest.mark.parametrize(("done", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_what_was_changed_by_hand_is_found(tier: Tier, done: str, code: str, place: None, tenant: MakeTenant) -> None:
    acme = tenant("acme", tier)
    as_owner(acme, done)
    found = [each for each in acme.findings() if not each.startswith("POOL_")]  # the pool's catalog check has its own
    assert found == [code]


@every_tier
def test_a_table_that_changed_hands_is_found(
    tier: Tier, place: None, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", tier)
    change = sql.SQL("ALTER TABLE {} OWNER TO {}")
    tags = sql.Identifier(acme.context.schema, "projects_tag")
    url = make_conninfo(superuser.info.dsn, password=superuser.info.password, dbname=acme.context.database)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(change.format(tags, sql.Identifier(acme.role["role"])))
        assert "WRONG_OWNER" in acme.findings()
        admin.execute(change.format(tags, sql.Identifier(OWNER)))


def test_a_database_that_was_opened_to_everybody_is_found(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.DATABASE)
    as_owner(acme, "GRANT CONNECT ON DATABASE {database} TO PUBLIC")
    assert acme.findings() == ["DATABASE_OPEN_TO_ALL"]
    acme.provision()
    assert acme.findings() == []


@pytest.mark.parametrize(
    ("done", "code"),
    {
        "BYPASSRLS": "ROLE_TOO_MIGHTY",
        "CREATEDB": "ROLE_TOO_MIGHTY",
        "INHERIT": "ROLE_TOO_MIGHTY",
        "SET search_path = pg_catalog": "ROLE_SETTINGS_CHANGED",
        "PASSWORD 'guessed'": "ROLE_CANNOT_LOG_IN",
    }.items(),
)
def test_a_changed_role_is_found_and_put_right(
    done: str, code: str, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme")
    superuser.execute(sql.SQL("ALTER ROLE {} " + done).format(sql.Identifier(acme.context.key)))
    assert acme.findings() == [code]
    acme.provision()
    assert acme.findings() == []


def test_a_role_in_a_group_is_found(tenant: MakeTenant, superuser: psycopg.Connection) -> None:
    acme = tenant("acme")
    superuser.execute(sql.SQL("GRANT tenure_owner TO {}").format(sql.Identifier(acme.context.key)))
    assert "ROLE_IS_MEMBER" in acme.findings()


@every_tier
def test_it_erases_acme_to_zero_and_spares_globex(tier: Tier, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", tier), tenant("globex", tier)
    with tiers.connect(acme.context) as session:
        session.execute("INSERT INTO projects_project (name, description, created_at) VALUES ('a', '', now())")
        session.execute(
            "INSERT INTO projects_project_tags (project_id, tag_id)"
            " SELECT p.id, t.id FROM projects_project p, projects_tag t"
        )
    before, theirs = acme.count(), globex.count()
    gone = 0
    while chunk := TenantDatabase().erase(acme.context, acme.database, limit=7):
        assert chunk <= 7
        gone += chunk
    assert (gone, acme.count(), globex.count()) == (before, 0, theirs)
    assert acme.findings() == (["DOOR_CLOSED", "ROLE_CANNOT_ENTER", "ROWS_DIFFER"] if tier == Tier.POOL else [])
    assert globex.findings() == []


def test_rows_that_refer_to_each_other_are_erased_together(tenant: MakeTenant) -> None:
    acme = tenant("acme")
    as_owner(acme, "CREATE TABLE {schema}.leaf (id int PRIMARY KEY, above int REFERENCES {schema}.leaf)")
    as_owner(acme, "INSERT INTO {schema}.leaf VALUES (1, NULL), (2, 1), (3, 2)")
    while TenantDatabase().erase(acme.context, acme.database, limit=50):
        pass
    assert acme.count() == 0


@every_tier
def test_removing_leaves_nothing_and_may_be_repeated(
    tier: Tier, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme, globex = tenant("acme", tier), tenant("globex", tier)
    with tiers.connect(acme.context) as session:  # one that is still open does not stop it
        session.commit()  # in a pool a transaction is waited for
        acme.remove()
    acme.remove()
    assert servers_view(superuser, acme) == []
    assert acme.count() == 0
    assert not Secret.objects.filter(tenant_id=acme.context.tenant_id).exists()
    assert globex.findings() == []


@every_tier
def test_removing_what_was_never_made_changes_nothing(tier: Tier, house: None, superuser: psycopg.Connection) -> None:
    acme = make_tenant("acme", tier)
    acme.remove()
    assert servers_view(superuser, acme) == []


@every_tier
def test_what_is_not_there_is_said_and_counts_nothing(tier: Tier, house: None) -> None:
    acme = make_tenant("acme", tier)
    missing, role = {
        Tier.POOL: ("NOT_IN_POOL", "ROLE_CANNOT_ENTER"),
        Tier.SCHEMA: ("SCHEMA_MISSING", "ROLE_MISSING"),
        Tier.DATABASE: ("DATABASE_MISSING", "ROLE_MISSING"),
    }[tier]
    found = [finding.code for finding in TenantDatabase().verify(acme.context, acme.database)]
    assert (found, acme.count()) == ([missing], 0)
    assert [finding.code for finding in LoginRole().verify(acme.context, acme.role)] == [role]


def test_a_database_whose_dropping_was_interrupted_is_made_anew(
    tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", Tier.DATABASE)
    superuser.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", (acme.context.database,))
    assert "DATABASE_MISSING" in acme.findings()
    acme.provision()
    assert acme.findings() == []


def test_a_template_that_was_removed_is_made_again(tenant: MakeTenant, superuser: psycopg.Connection) -> None:
    release = current_release()
    assert release is not None
    template = sql.Identifier(template_name(release))
    superuser.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(template))
    superuser.execute(sql.SQL("DROP DATABASE {}").format(template))
    with pytest.raises(TemplateGone):
        tenant("acme", Tier.DATABASE)
    assert tenant("globex", Tier.DATABASE).findings() == []


@every_role
def test_a_new_password_replaces_the_old_and_spares_open_sessions(
    tier: Tier, *, own_role: bool, tenant: MakeTenant
) -> None:
    acme = tenant("acme", tier, own_role=own_role)
    with tiers.connect(acme.context) as session:
        old = LoginRole().password(acme.context)
        LoginRole().rotate(acme.context, acme.role, claim=new_claim())
        assert session.execute("SELECT current_user").fetchall() == [(acme.context.key,)]
    assert LoginRole().password(acme.context) != old
    assert acme.findings() == []
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(acme.context, acme.context.key, old)


def test_the_password_is_kept_sealed(tenant: MakeTenant) -> None:
    acme = tenant("acme")
    sealed = bytes(Secret.objects.get(tenant_id=acme.context.tenant_id).sealed)
    assert LoginRole().password(acme.context).encode() not in sealed


def test_a_role_has_as_many_connections_as_its_plan_says(tenant: MakeTenant) -> None:
    acme = tenant("acme")
    limited = {**acme.role, "connection_limit": 1}
    LoginRole().provision(acme.context, limited, claim=new_claim())
    with tiers.connect(acme.context), pytest.raises(ServerUnavailable, match="too many connections"):
        tiers.connect(acme.context)


def test_names_come_from_the_id_and_never_from_the_slug(house: None, superuser: psycopg.Connection) -> None:
    acme = make_tenant("acme", Tier.SCHEMA).called("x'; DROP SCHEMA tenure CASCADE; --\"")
    acme.provision()
    try:
        assert acme.findings() == []
        assert servers_view(superuser, acme) == [f"role {acme.context.key}", f"schema {acme.context.key}"]
    finally:
        acme.remove()


def test_a_release_is_read_from_the_control_database_once(house: None, django_assert_num_queries: object) -> None:
    name = current_release().name  # type: ignore[union-attr]
    assert release_named(name) is release_named(name)


@every_tier
def test_many_are_made_and_removed_at_once(tier: Tier, house: None) -> None:
    """Grants on one database, and copies of one template, meet in the server's own catalog."""
    several = [make_tenant(f"tenant-{number}", tier) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(closing(Made.provision), several))
        assert list(pool.map(closing(Made.findings), several)) == [[]] * 6
        list(pool.map(closing(Made.remove), several))


def closing(act: Callable[[Made], T]) -> Callable[[Made], T]:
    """The act, with the thread's own control connections closed after it."""

    def acted(made: Made) -> T:
        try:
            return act(made)
        finally:
            connections.close_all()

    return acted
