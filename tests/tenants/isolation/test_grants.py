"""What the runtime and directory roles may do in plain SQL, past every line of our code."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings as project
from django.core.checks import Tags, run_checks
from django.db import connections, transaction
from psycopg.errors import InsufficientPrivilege, UndefinedTable

from tenants import audit
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.isolation.grants import DIRECTORY, grant_runtime
from tenants.models import AuditEntry, Plan, Tenant
from tenants.states import Tier

Sql = Callable[..., Any]

REFUSED = {
    "edits an entry": "UPDATE audit_entry SET body = body",
    "deletes entries": "DELETE FROM audit_entry",
    "empties the log": "TRUNCATE audit_entry, audit_chain",
    "writes an entry past the function": (
        "INSERT INTO audit_entry (chain, seq, prev, body, hash) SELECT chain, 9, prev, body, hash FROM audit_entry"
    ),
    "moves a chain's end": "UPDATE audit_chain SET size = 0",
    "makes a chain": "INSERT INTO audit_chain (chain) VALUES (gen_random_uuid())",
    "switches the guards off": "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
    "drops the guards": "DROP TRIGGER audit_entry_kept ON audit_entry",
    "replaces the append function": (
        "CREATE OR REPLACE FUNCTION audit_append(p_chain uuid, p_body text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'"
    ),
    "puts a function in front of it": "CREATE FUNCTION sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    "drops the log": "DROP TABLE audit_entry",
    "edits a checkpoint": "UPDATE audit_checkpoint SET body = body",
    "deletes checkpoints": "DELETE FROM audit_checkpoint",
    "edits a sealed value": "UPDATE audit_payload SET sealed = sealed",
    "becomes the owner": "SET ROLE tenure_owner_control",
    "deletes a tenant": "DELETE FROM tenants_tenant",
    "deletes placements": "DELETE FROM tenants_placement",
    "deletes resources": "DELETE FROM provisioning_resource",
    "deletes runs": "DELETE FROM provisioning_run",
    "edits events": "UPDATE tenants_event SET type = ''",
    "forgets a migration": "DELETE FROM django_migrations",
    "makes a table": "CREATE TABLE mine (id int)",
}

NOT_FOR_THE_DIRECTORY = {
    "reads a cluster's URL": "SELECT sealed_url FROM tenants_cluster",
    "reads billing's references": "SELECT external_ref FROM tenants_tenant",
    "reads a secret": "SELECT sealed FROM provisioning_secret",
    "reads password hashes": "SELECT password FROM auth_user",
    "reads the audit log": "SELECT body FROM audit_entry",
    "reads sealed values": "SELECT sealed FROM audit_payload",
    "renames a tenant": "UPDATE tenants_tenant SET slug = 'mine'",
    "takes a domain": "UPDATE tenants_domain SET tenant_id = tenant_id",
    "adds a domain": "INSERT INTO tenants_domain (domain) VALUES ('mine')",
    "writes the audit log": "SELECT audit_append(gen_random_uuid(), '{}')",
}


@pytest.fixture
def acme(control: None) -> Tenant:
    """With one entry in its chain."""
    plan = Plan.objects.create(name="standard", tier=Tier.SCHEMA)
    tenant = Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")
    with transaction.atomic():
        audit.write(
            AuditAction.TENANT_CREATED,
            actor=Actor(kind="system", id="setup", name="setup"),
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
        )
    return tenant


def session(alias: str, **changed: str) -> Iterator[Sql]:
    entry = {**project.DATABASES[alias], **changed}
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    with psycopg.connect(**{name: entry[key] for name, key in names.items()}, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture
def runtime() -> Iterator[Sql]:
    yield from session("default")


@pytest.fixture
def owner() -> Iterator[Sql]:
    yield from session("owner")


def answers(attempts: dict[str, str], execute: Sql) -> dict[str, str]:
    """What the server says to each statement: the grants must stop it, before any trigger does."""
    found = {}
    for name, statement in attempts.items():
        try:
            execute(statement)
            found[name] = "let through"
        except InsufficientPrivilege as error:
            found[name] = "stopped by a trigger only" if "append-only" in str(error) else "refused"
    return found


def test_the_runtime_role_is_refused_what_is_not_its_work(acme: Tenant, runtime: Sql) -> None:
    assert answers(REFUSED, runtime) == dict.fromkeys(REFUSED, "refused")
    assert audit.verify().intact
    assert (Tenant.objects.count(), AuditEntry.objects.count()) == (1, 1)


def test_the_runtime_role_can_do_its_work(acme: Tenant, runtime: Sql) -> None:
    """The control for all refusals above."""
    assert runtime("SELECT count(*) FROM audit_entry").fetchone() == (1,)
    assert runtime("UPDATE tenants_tenant SET name = 'Acme Ltd' RETURNING slug").fetchone() == ("acme",)
    body = AuditEntry.objects.get().body.replace(str(AuditEntry.objects.get().entry), "0" * 32)
    assert runtime("SELECT audit_append(%s, %s)", (acme.audit_chain, body)).fetchone() == (2,)


@pytest.mark.parametrize("statement", ["UPDATE audit_entry SET body = body", "DELETE FROM audit_entry"])
def test_even_the_owner_is_stopped_by_the_triggers(statement: str, acme: Tenant, owner: Sql) -> None:
    with pytest.raises(InsufficientPrivilege, match="append-only") as refused:
        owner(statement)
    assert refused.value.diag.message_hint
    for table in ("audit_entry", "audit_chain"):
        with pytest.raises(InsufficientPrivilege, match="append-only"):
            owner(f"TRUNCATE {table} CASCADE")
    assert audit.verify().entries == 1


def test_with_one_role_for_both_the_triggers_still_hold_and_a_check_warns(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single-role deployment: DATABASE_OWNER_URL unset."""
    assert "tenants.W010" not in {message.id for message in run_checks(tags=[Tags.security])}
    monkeypatch.setitem(project.DATABASES["default"], "USER", project.DATABASES["owner"]["USER"])
    grant_runtime(connections["owner"])  # changes nothing, and does not fail
    assert "tenants.W010" in {message.id for message in run_checks(tags=[Tags.security])}
    for execute in session("owner"):
        with pytest.raises(InsufficientPrivilege, match="append-only"):
            execute("DELETE FROM audit_entry")
        execute("UPDATE tenants_tenant SET name = name")
        assert execute("SELECT has_table_privilege('tenants_tenant', 'DELETE')").fetchone() == (True,)


def test_what_was_granted_by_hand_is_taken_back(acme: Tenant, owner: Sql, runtime: Sql) -> None:
    owner("GRANT DELETE ON tenants_tenant TO tenure_control")
    assert runtime("SELECT has_table_privilege('tenants_tenant', 'DELETE')").fetchone() == (True,)
    for _time in range(2):
        grant_runtime(connections["owner"])
    assert runtime("SELECT has_table_privilege('tenants_tenant', 'DELETE')").fetchone() == (False,)


@pytest.fixture
def directory(stack: Any) -> Iterator[Sql]:
    role = {"USER": "tenure_directory", "PASSWORD": stack.credentials.tenure_directory}
    yield from session("default", **role)


def test_the_directory_role_reads_what_leads_from_a_host_to_a_tenant(acme: Tenant, directory: Sql) -> None:
    for table, columns in DIRECTORY.items():
        directory(f"SELECT {', '.join(columns)} FROM {table}".replace("schema", '"schema"'))
    found = directory("SELECT slug, state FROM tenants_tenant").fetchall()
    assert found == [("acme", "provisioning")]


def test_the_directory_role_is_refused_everything_else(acme: Tenant, directory: Sql) -> None:
    assert answers(NOT_FOR_THE_DIRECTORY, directory) == dict.fromkeys(NOT_FOR_THE_DIRECTORY, "refused")


def test_a_deployment_without_a_directory_role_is_granted_all_the_same(acme: Tenant, settings: Any) -> None:
    settings.TENURE_DIRECTORY_ROLE = "nobody_by_this_name"
    grant_runtime(connections["owner"])


def test_the_keyring_holds_data_keys_alone_and_the_runtime_role_cannot_delete_them(control: None) -> None:
    for execute in session("keyring"):
        with pytest.raises(InsufficientPrivilege):
            execute("DELETE FROM data_key")
        with pytest.raises(UndefinedTable):
            execute("SELECT 1 FROM tenants_tenant")
        assert execute("SELECT count(*) FROM data_key").fetchone() == (0,)
