"""globex's own connection, with any SQL, against acme: refused each time, while the same on its own things works."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.stack.embedded import Stack
from provisioning.databases import tiers
from provisioning.databases.layout import template_name
from provisioning.databases.releases import current_release
from provisioning.databases.tiers import LoginRole
from tenants.models import Cluster
from tenants.states import Tier
from tests import databases
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made, make_tenant

OWN_WORKS = "SELECT count(*) FROM projects_tag"

# In each, {acme} is acme's schema and {role} acme's role. The second is how the server refuses it.
ATTACKS = {
    "reads a table": ("SELECT * FROM {acme}.projects_tag", "permission denied for schema"),
    "writes a table": ("INSERT INTO {acme}.projects_tag (name) VALUES ('x')", "permission denied for schema"),
    "takes the schema into its path": ("SET search_path = {acme}; SELECT * FROM projects_tag", "does not exist"),
    "calls itself acme": ("SET ROLE {role}", "permission denied to set role"),
    "calls itself the owner": ("SET ROLE tenure_owner", "permission denied to set role"),
    "calls itself the verifier": ("SET ROLE tenure_verifier", "permission denied to set role"),
    "calls itself the provisioner": ("SET ROLE tenure_provisioner", "permission denied to set role"),
    "grants itself the owner": ("GRANT tenure_owner TO CURRENT_USER", "permission denied to grant role"),
    "makes a role": ("CREATE ROLE helper", "permission denied to create role"),
    "reads the fences": ("SELECT * FROM tenure.fence", "permission denied for schema"),
    "makes a schema": ("CREATE SCHEMA aside", "permission denied for database"),
    "makes a temporary table": ("CREATE TEMP TABLE projects_tag (id int)", "permission denied to create temporary"),
    "makes a table in its own schema": ("CREATE TABLE extra (id int)", "permission denied for schema"),
    "makes a table in public": ("CREATE TABLE public.extra (id int)", "permission denied for schema"),
    "changes a table's shape": ("ALTER TABLE projects_tag ADD more int", "must be owner of table"),
    "empties a table at once": ("TRUNCATE projects_tag CASCADE", "permission denied for table"),
    "drops acme's schema": ("DROP SCHEMA {acme} CASCADE", "must be owner of schema"),
    "reads the server's files": ("COPY projects_tag FROM '/etc/passwd'", "permission denied to COPY from a file"),
    "runs a program": ("COPY projects_tag TO PROGRAM 'true'", "permission denied to COPY to or from an external"),
    "reads passwords": ("SELECT * FROM pg_authid", "permission denied for table"),
}


@dataclass(frozen=True, slots=True)
class Neighbour:
    schema: str
    role: str
    url: str


@pytest.fixture(scope="module")
def neighbours(stack: Stack, furnished: None, django_db_blocker: Any) -> Iterator[tuple[Neighbour, Neighbour]]:
    """acme and globex in the schema tier, made once: attacks leave nothing behind, or they would have succeeded."""
    with django_db_blocker.unblock():
        databases.load(stack, "furnished")
        made = [make_tenant(slug, Tier.SCHEMA) for slug in ("acme", "globex")]
        for each in made:
            each.provision()
        acme, globex = (Neighbour(each.context.schema, each.context.key, url_as(each, stack)) for each in made)
    yield acme, globex
    with django_db_blocker.unblock():
        databases.load(stack, "furnished")
        for each in made:
            each.remove()
        databases.close_all()


def url_as(made: Made, stack: Stack) -> str:
    return make_conninfo(
        host="127.0.0.1",
        port=stack.ports.postgres,
        user=made.role["role"],
        password=LoginRole().login(made.context, made.role)[1],
        dbname=made.context.database,
    )


@pytest.mark.parametrize(("attack", "refusal"), ATTACKS.values(), ids=ATTACKS.keys())
def test_globex_is_refused_in_the_shared_database(
    attack: str, refusal: str, neighbours: tuple[Neighbour, Neighbour]
) -> None:
    acme, globex = neighbours
    names = {"acme": sql.Identifier(acme.schema), "role": sql.Identifier(acme.role)}
    with psycopg.connect(globex.url, autocommit=True) as session:
        assert session.execute(OWN_WORKS).fetchall() == [(4,)]
        with pytest.raises(psycopg.Error, match=refusal):
            session.execute(sql.SQL(attack).format(**names))
    with psycopg.connect(acme.url) as session:
        assert session.execute(OWN_WORKS).fetchall() == [(4,)]


@pytest.mark.parametrize("tier", Tier)
def test_globex_cannot_connect_to_any_other_database(tier: Tier, tenant: MakeTenant, stack: Stack) -> None:
    acme, globex = tenant("acme", Tier.DATABASE), tenant("globex", tier)
    release = current_release()
    assert release is not None
    others = {acme.context.database, "postgres", "template1", "tenure", "tenure_keyring", template_name(release)}
    shared = Cluster.objects.get().database
    url = url_as(globex, stack)
    with tiers.connect(globex.context) as session:
        assert session.execute(f"SELECT count(*) FROM {globex.context.schema}.projects_tag").fetchall() == [(4,)]
    for database in others | ({shared} if tier == Tier.DATABASE else set()):
        with pytest.raises(psycopg.OperationalError, match=r"permission denied for database|not currently accepting"):
            psycopg.connect(url, dbname=database)


def test_a_password_opens_one_role_only(neighbours: tuple[Neighbour, Neighbour]) -> None:
    acme, globex = neighbours
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(globex.url, user=acme.role)
