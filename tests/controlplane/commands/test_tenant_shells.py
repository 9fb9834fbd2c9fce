"""`tenant_shell` and `tenant_psql`: each in a process of its own, as an operator starts it."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane.stack.embedded import Stack
from examples.projects.models import Project
from provisioning.databases.tiers import connect
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.placement import pool_role
from tenants.states import TenantState, Tier
from tests.fleet import onboarded
from tests.pair import Pair

pytestmark = pytest.mark.long

WHO = "SELECT current_database(), current_schema(), session_user"


def manage(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **stack.environment}
    return subprocess.run(
        (sys.executable, "manage.py", *arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_shell_is_inside_the_tenants_scope(pair: Pair, stack: Stack) -> None:
    code = """
Project.objects.create(name="from the shell")
try:
    with __import__("django.db").db.transaction.atomic():
        Project.objects.create(name="undone")
        1 / 0
except ZeroDivisionError:
    pass
with __import__("django.db").db.connection.cursor() as cursor:
    cursor.execute("SELECT session_user")
    print(cursor.fetchone()[0])
"""
    ran = manage(stack, "tenant_shell", "globex", "-v", "0", "-c", code)
    assert (ran.stdout.strip(), ran.returncode) == (pair.globex.key, 0), ran.stderr
    for context, names in ((pair.globex, ["from the shell"]), (pair.acme, [])):
        with tenant_scope(context):
            assert list(Project.objects.values_list("name", flat=True)) == names


def test_a_shell_of_one_tenant_opens_no_other(pair: Pair, stack: Stack) -> None:
    code = """
from dataclasses import replace
from tenants.context import current, tenant_scope
from tenants.isolation import credentials
from tenants.models import Tenant
credentials.of(Tenant.objects.get(slug="globex").context())
"""
    ran = manage(stack, "tenant_shell", "acme", "-v", "0", "-c", code)
    assert "opened for acme alone" in ran.stderr
    assert ran.returncode == 1


def test_psql_runs_as_the_tenants_role_in_its_schema(pair: Pair, stack: Stack) -> None:
    for context in (pair.acme, pair.globex):
        ran = manage(stack, "tenant_psql", context.slug, "--", "-XAtc", WHO)
        assert ran.stdout.strip() == f"{context.database}|{context.schema}|{context.key}", ran.stderr


def test_psql_gets_no_secret_in_its_arguments(pair: Pair, stack: Stack) -> None:
    ran = manage(stack, "tenant_psql", "acme", "--", "-XAtc", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline")
    assert ran.stdout.startswith("psql -XAtc"), ran.stderr


def psql(stack: Stack, *arguments: str, typed: str = "") -> list[str]:
    environment = {**os.environ, **stack.environment}
    ran = subprocess.run(
        (sys.executable, "manage.py", "tenant_psql", "initech", *arguments),
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_psql_in_a_pool_has_entered_the_tenant_and_keeps_what_was_done(changing_pair: Pair, stack: Stack) -> None:
    initech, other = (onboarded(slug, Tier.POOL).context() for slug in ("initech", "umbrella"))
    assert initech.pool_id is not None
    who = f"{initech.database}|pool_1|{pool_role(initech.pool_id)}"
    count = "SELECT count(*) FROM projects_tag"
    assert psql(stack, "--", "-XAtc", WHO, "-c", count) == [who, "4"]
    assert psql(stack, "--", "-XAt", typed=f"INSERT INTO projects_tag (name) VALUES ('x');\n{count};\n") == [
        "INSERT 0 1",
        "5",
    ]
    assert psql(stack, "--", "-qAtc", count) == ["5"]
    with connect(other) as session:
        assert session.execute(count).fetchall() == [(4,)]


def test_a_shell_in_a_pool_is_inside_the_tenants_scope(changing_pair: Pair, stack: Stack) -> None:
    onboarded("initech", Tier.POOL)
    code = 'Project.objects.create(name="from the shell"); print(Project.objects.count(), Tag.objects.count())'
    ran = manage(stack, "tenant_shell", "initech", "-v", "0", "-c", code)
    assert (ran.stdout.strip(), ran.returncode) == ("1 4", 0), ran.stderr


@pytest.mark.parametrize("command", ["tenant_shell", "tenant_psql"])
def test_a_tenant_that_is_not_there_or_not_open_is_refused(changing_pair: Pair, command: str) -> None:
    Tenant.objects.filter(slug="globex").update(state=TenantState.SUSPENDED)
    for slug, says in (("nobody", "There is no tenant nobody"), ("globex", "suspended")):
        with pytest.raises(CommandError, match=says):
            call_command(command, slug)


@pytest.mark.parametrize(
    ("command", "arguments"), [("tenant_shell", ("-v", "0", "-c", "pass")), ("tenant_psql", ("--", "-Xc", ""))]
)
def test_opening_a_shell_is_in_the_audit_log(
    changing_pair: Pair, stack: Stack, command: str, arguments: tuple[str, ...]
) -> None:
    assert manage(stack, command, "acme", *arguments).returncode == 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT public ->> 'action' FROM audit_entry WHERE public ->> 'actor' = %s", (f"command:{command}",)
        )
        assert cursor.fetchall() == [("credentials.handed_out",)]
