"""A database that is restored from before an erasure says so by itself, and is not served until that was done again."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings as project
from django.db import connections, transaction
from django.test import RequestFactory
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from controlplane.health import readyz
from controlplane.stack.embedded import Stack
from provisioning.databases.clusters import reserve
from provisioning.erasure import keeping, ledger, restored
from provisioning.erasure.ledger import CONTROL, TombstoneVoid
from provisioning.erasure.restored import behind, look_again, replay_tombstones
from provisioning.erasure.stores import Identifier, Scope
from provisioning.models import Tombstone
from tenants.models import Cluster, Placement, Plan, Tenant
from tests import databases

MAIL = "alice.liddell@example.org"


@pytest.fixture
def acme(house: None) -> Iterator[Tenant]:
    """Placed in the schema tier; the shared database of its cluster, which tests share, knows of no ledger."""
    forget_in_the_cluster()
    tenant = Tenant.objects.create(
        slug="acme", name="Acme", principal="billing", plan=Plan.objects.get(name="standard"), region="local"
    )
    reserve(tenant, "schema")
    look_again()
    yield tenant
    forget_in_the_cluster()
    look_again()


def forget_in_the_cluster() -> None:
    with psycopg.connect(os.environ["CLUSTER_URL"], autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tenure.ledger_mark")


def scope(tenant: Tenant, *identifiers: Identifier) -> Scope:
    kind = "subject" if identifiers else "tenant"
    return Scope(kind, tenant.pk, tenant.incarnation, uuid4(), identifiers)  # type: ignore[arg-type]


def begun(of: Scope) -> int:
    """The bar, crossed."""
    seq = ledger.record(of, places=ledger.places_of(of))
    with transaction.atomic():
        ledger.crossed(seq)
    return seq


def proved(seq: int) -> None:
    ledger.certify(seq)
    ledger.mark(seq)


def missing() -> dict[str, str]:
    look_again()
    answer: dict[str, dict[str, str]] = json.loads(readyz(RequestFactory().get("/readyz")).content)
    return answer["missing"]


def restore_control(stack: Stack, label: str) -> None:
    """The control database alone: the keyring has backups of its own."""
    databases.close_all()
    databases._copy(stack, f"tenure_{label}", "tenure")


@pytest.mark.parametrize("backup", ["before the bar", "between bar and certificate"])
def test_a_restored_control_database_is_not_ready_until_it_was_replayed(
    backup: str, acme: Tenant, stack: Stack
) -> None:
    before, now = scope(acme), scope(acme)
    proved(begun(before))
    if backup == "before the bar":
        databases.save_as(stack, "backup")
    seq = begun(now)
    if backup != "before the bar":
        databases.save_as(stack, "backup")
    proved(seq)
    assert (behind(), replay_tombstones(CONTROL)) == ((), ())
    assert "erasures" not in missing()

    restore_control(stack, "backup")
    (found,) = behind()
    assert (found.place, found.mark, found.expected, found.requests) == (CONTROL, 1, 2, (now.request_id,))
    assert missing()["erasures"] == (
        f"The database control is older than 1 erasures: it was restored. Replay the requests {now.request_id}."
    )
    (stone,) = replay_tombstones(CONTROL)
    assert (stone.request, stone.refs) == (now.request_id, [str(acme.pk)])
    with transaction.atomic():  # what replays it, erases and verifies, and then:
        ledger.crossed(stone.seq)
    ledger.mark(stone.seq)
    assert "erasures" not in missing()


def test_one_from_before_the_bar_has_forgotten_an_erasure_that_is_not_proved_yet(
    acme: Tenant, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.save_as(stack, "backup")
    asked = scope(acme)
    begun(asked)
    monkeypatch.setattr(restored, "CROSSING", timedelta(0))
    assert behind() == ()  # under way, and known here
    restore_control(stack, "backup")
    assert [each.requests for each in behind()] == [(asked.request_id,)]
    assert [stone.request for stone in replay_tombstones(CONTROL)] == [asked.request_id]


def test_a_tenants_database_restored_from_a_dump_is_named(acme: Tenant, stack: Stack, tmp_path: Path) -> None:
    """A person was erased from a database of the tenant's own. Dump it, erase, restore the dump."""
    name, url = f"t_{acme.pk.hex}", os.environ["CLUSTER_URL"]
    Placement.objects.update(database=name, tier="database")
    own, dump = psycopg.conninfo.make_conninfo(url, dbname=name), tmp_path / "dump.sql"
    create(url, name)
    try:
        asked = scope(acme, Identifier("email", MAIL))
        place = f"{Cluster.objects.get().name}/{name}"
        assert ledger.places_of(asked) == (CONTROL, f"{Cluster.objects.get().name}/tenure_cluster", place)
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA tenure")
        binary = Path(project.PG_BIN) / "pg_dump"
        subprocess.run([str(binary), "--file", str(dump), own], check=True)
        proved(begun(asked))
        assert behind() == ()

        create(url, name)
        subprocess.run([str(binary.with_name("psql")), "-qXo", os.devnull, "-f", str(dump), own], check=True)
        assert [(each.place, each.mark, each.requests) for each in behind()] == [(place, 0, (asked.request_id,))]
        assert place in missing()["erasures"]
        (stone,) = replay_tombstones(place)
        assert stone.refs == [ledger.ref_of(acme.pk, "email", MAIL)]  # so whoever replays finds him
        ledger.mark(stone.seq)
        assert behind() == ()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    proved(begun(scope(acme, Identifier("email", MAIL))))  # a former database that is gone stops nobody
    assert behind() == ()


def create(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def test_the_shared_database_of_a_cluster_restored_whole_is_named(acme: Tenant) -> None:
    asked = scope(acme)
    proved(begun(asked))
    forget_in_the_cluster()  # what a base backup from before does
    assert [(each.place, each.requests) for each in behind()] == [
        (f"{Cluster.objects.get().name}/tenure_cluster", (asked.request_id,))
    ]


def test_a_tombstone_is_numbered_once_and_an_uncrossed_one_is_voided(acme: Tenant) -> None:
    asked = scope(acme)
    seq = ledger.record(asked, places=[CONTROL])
    assert ledger.record(asked, places=[CONTROL]) == seq
    assert (ledger.void(seq), ledger.void(seq)) == (seq + 1, seq + 1)
    again = ledger.record(asked, places=[CONTROL])  # it comes to the bar after all
    assert again == seq + 2
    assert (ledger.certify(again), ledger.certify(again)) == (1, 1)
    for wrong in (ledger.certify, ledger.mark):
        with pytest.raises(TombstoneVoid):
            wrong(seq)
    with pytest.raises(TombstoneVoid):
        ledger.void(again)
    assert list(ledger.broken()) == []


def test_the_ledger_names_nobody_and_cannot_be_rewritten(acme: Tenant, stack: Stack) -> None:
    asked = scope(acme, Identifier("email", MAIL), Identifier("name", "Alice Liddell"))
    seq = begun(asked)
    stone = Tombstone.objects.get(pk=seq)
    assert stone.refs == [ledger.ref_of(acme.pk, each.kind, each.value) for each in asked.identifiers]
    assert ledger.ref_of(UUID(int=1), "email", MAIL) not in stone.refs  # another tenant's Alice is another
    with psycopg.connect(stack.superuser_url, dbname="tenure_keyring", autocommit=True) as intruder:
        text = str(intruder.execute("SELECT t::text FROM tombstone t").fetchall()).lower()
        assert "alice" not in text
        assert "example.org" not in text
        intruder.execute("UPDATE tombstone SET refs = '[]'")
    assert [(each.seq, each.what) for each in ledger.broken()] == [(seq, "hash")]
    entry = connections["keyring"].settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    with psycopg.connect(**{name: entry[key] for name, key in names.items()}, autocommit=True) as runtime:
        runtime.execute("UPDATE tombstone SET voided_by = NULL")  # the control: this role does work here
        for statement in ("UPDATE tombstone SET refs = '[]'", "DELETE FROM tombstone", "TRUNCATE tombstone"):
            with pytest.raises(InsufficientPrivilege):
                runtime.execute(statement)


def test_a_keyring_from_before_an_erasure_is_told_by_what_lies_outside(
    acme: Tenant, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else remembers: the tombstone is gone, and every mark is higher than the ledger."""
    proved(begun(scope(acme)))
    keeping._Last.copied = float("-inf")
    keeping.keep_evidence()
    assert caplog.text == ""
    with psycopg.connect(stack.superuser_url, dbname="tenure_keyring", autocommit=True) as older:
        older.execute("DELETE FROM tombstone")
    assert behind() == ()
    keeping.copy_outside()
    assert "it knows 0 tombstones of 1" in caplog.text
