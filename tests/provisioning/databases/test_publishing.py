import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as installed
from django.core.management import call_command
from django.core.management.base import CommandError

from controlplane.stack.embedded import Stack
from provisioning.databases import tiers
from provisioning.databases.blueprint import INTERRUPTED, LOCK, AlreadyPublishing, NameTaken, publish
from provisioning.databases.layout import sole, template_name
from provisioning.databases.recording import MigrationFailed
from provisioning.databases.refusals import BlueprintRefused
from provisioning.databases.releases import current_release
from provisioning.databases.servers import connect
from provisioning.models import ClusterRelease, Release
from tenants.models import Cluster
from tests.fleet import BILLING
from tests.provisioning.databases.conftest import MakeTenant
from tests.shelf import Shelf

pytestmark = pytest.mark.long

BOOKS = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=80)),
    ])
"""
WRITES_WITHOUT_ALIAS = """
def fill(apps, schema_editor):
    from django.db import connection
    apps.get_model("{name}", "Book").objects.create(title="tab\\there, line\\nthere, 'quote' and \\\\ backslash")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM {name}_book")
    print("a migration may print")
"""


def current() -> Release:
    release = current_release()
    assert release is not None
    return release


def rows_of(release: Release, table: str) -> list[str]:
    return next((each["copy"].splitlines() for each in release.seed if each["table"] == table), [])


def scratch_databases(superuser: psycopg.Connection) -> list[Any]:
    return superuser.execute("SELECT datname FROM pg_database WHERE datname LIKE 'blueprint%'").fetchall()


def test_a_release_tells_what_each_operation_sent(house: None) -> None:
    tags = current().migrations.get(app="projects", name="0002_default_tags")
    assert [(each["operation"], each["kind"]) for each in tags.operations] == [("RunPython", "data")]
    tables = current().migrations.get(app="projects", name="0001_initial")
    assert {each["kind"] for each in tables.operations} == {"schema"}
    assert any('CREATE TABLE "projects_project"' in text for each in tables.operations for text in each["statements"])


def test_foreign_keys_that_django_defers_are_recorded_at_the_end(house: None) -> None:
    tables = current().migrations.get(app="projects", name="0001_initial")
    last = tables.operations[-1]
    assert last["operation"] == "end of migration"
    assert any("FOREIGN KEY" in text for text in last["statements"])


def test_a_release_holds_rows_of_the_tenants_apps_alone(house: None) -> None:
    labels = {row.split("\t")[1] for row in rows_of(current(), "django_content_type")}
    assert labels == {"auth", "contenttypes", "projects"}
    assert {row.split("\t")[1] for row in rows_of(current(), "projects_tag")} == {
        "idea",
        "in progress",
        "in review",
        "done",
    }
    assert len(rows_of(current(), "django_migrations")) == current().migrations.count()


def test_publishing_again_with_nothing_new_changes_nothing(house: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = current()
    call_command("publish_release")
    assert "Nothing new" in capsys.readouterr().out
    assert (current().pk, Release.objects.count()) == (before.pk, 1)


def test_a_new_migration_makes_a_new_release_and_another_comment_does_not(
    house: None, shelf: Shelf, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    former = current()
    path = shelf.write("0001_initial", BOOKS)
    first = publish(actor=BILLING)
    assert (current().pk, Release.objects.get(pk=former.pk).current) == (first.pk, False)

    path.write_text(path.read_text() + "# a remark\n")
    assert publish(actor=BILLING).pk == first.pk
    assert Release.objects.count() == 2

    head = WRITES_WITHOUT_ALIAS.format(name=shelf.name)
    shelf.write("0002_fill", "migrations.RunPython(fill)", before="0001_initial", head=head)
    second = publish("with-books", actor=BILLING)
    kept = ClusterRelease.objects.values_list("release", flat=True)
    assert set(kept) == {first.pk, second.pk}  # a third one's template is gone
    assert not superuser.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template_name(former),)).fetchall()
    assert (second.name, second.current, second.fingerprint) == ("with-books", True, first.fingerprint)
    assert ClusterRelease.objects.get(release=second).template == template_name(second)

    with tiers.connect(tenant("acme").context) as session:
        titles = session.execute(f"SELECT title FROM {shelf.name}_book").fetchall()
    assert titles == [("tab\there, line\nthere, 'quote' and \\ backslash",)]


def test_a_failing_migration_leaves_the_former_release_in_use(
    house: None, shelf: Shelf, superuser: psycopg.Connection
) -> None:
    former = current()
    shelf.write("0001_initial", BOOKS)
    shelf.write("0002_wrong", 'migrations.RunSQL("SELECT 1 / 0")', before="0001_initial")
    with pytest.raises(MigrationFailed, match=r"0002_wrong: .*division by zero"):
        publish("broken", actor=BILLING)
    failed = Release.objects.get(name="broken")
    assert (failed.state, failed.current, current().pk) == (Release.State.FAILED, False, former.pk)
    assert "division by zero" in failed.error
    assert scratch_databases(superuser) == []

    shelf.write("0002_wrong", 'migrations.RunSQL("SELECT 1")', before="0001_initial")
    assert publish("broken", actor=BILLING).current
    shelf.write("0003_more", 'migrations.RunSQL("SELECT 2")', before="0002_wrong")
    with pytest.raises(CommandError, match="There is a release broken already"):
        call_command("publish_release", "broken", verbosity=0)


def test_an_app_that_reaches_out_of_its_schema_is_refused(house: None, shelf: Shelf) -> None:
    shelf.write(
        "0001_initial",
        'migrations.RunSQL("CREATE FUNCTION peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$SELECT 1$$;'
        ' CREATE SCHEMA aside; CREATE TABLE aside.notes ()")',
    )
    with pytest.raises(BlueprintRefused) as refused:
        publish(actor=BILLING)
    assert "the function peek with SECURITY DEFINER" in str(refused.value)
    assert "the schema aside" in str(refused.value)


def test_apps_that_need_others_are_named(house: None, settings: Any) -> None:
    settings.TENANT_APPS = ["django.contrib.auth"]
    with pytest.raises(MigrationFailed, match="depend on contenttypes"):
        publish(actor=BILLING)


def test_two_publishers_do_not_meet(house: None, cluster: Cluster) -> None:
    with (
        connect(cluster) as connection,
        sole(connection, LOCK, busy=AlreadyPublishing),
        pytest.raises(AlreadyPublishing),
    ):
        publish(actor=BILLING)


def test_a_name_that_is_in_use_is_not_given_again(house: None, shelf: Shelf) -> None:
    shelf.write("0001_initial", BOOKS)
    with pytest.raises(NameTaken):
        publish(current().name, actor=BILLING)


def test_what_a_killed_publisher_left_is_cleared_away(house: None, stack: Stack, superuser: psycopg.Connection) -> None:
    former = current()
    publisher = subprocess.Popen(
        [sys.executable, "manage.py", "publish_release", "half", "--quiet"],
        cwd=Path(installed.BASE_DIR),
        env={**os.environ, **stack.environment, "TENANT_APPS": "django.contrib.contenttypes"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not scratch_databases(superuser):
            assert time.monotonic() < until
            assert publisher.poll() is None
    finally:
        publisher.send_signal(signal.SIGKILL)
        publisher.wait()
    half = Release.objects.get(name="half")
    assert half.state == Release.State.PUBLISHING
    publish_when_free()
    half.refresh_from_db()
    assert (half.state, half.error, current().pk) == (Release.State.FAILED, INTERRUPTED, former.pk)
    assert scratch_databases(superuser) == []


def publish_when_free() -> None:
    """The server notices within moments that the killed publisher's session is gone."""
    until = time.monotonic() + 30
    while True:
        try:
            publish(actor=BILLING)
        except AlreadyPublishing:
            assert time.monotonic() < until
        else:
            return
