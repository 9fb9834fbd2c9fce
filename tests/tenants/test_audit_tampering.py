"""Somebody with the owner's or the superuser's rights changes the log; the verification says where."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from controlplane.stack.embedded import Stack
from tenants import audit
from tenants.audit import GENESIS, Actor, AuditAction, ObjectType, Wrong, entry_hash
from tenants.models import AuditEntry, Plan, Tenant

SETUP = Actor(kind="system", id="setup", name="setup")
Sql = Callable[..., Any]


@pytest.fixture
def acme(plan: Plan) -> Tenant:
    """With five entries in its chain."""
    tenant = Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")
    write(tenant, 5)
    return tenant


def write(tenant: Tenant, entries: int) -> None:
    for _entry in range(entries):
        with transaction.atomic():
            about = (ObjectType.TENANT, tenant.pk)
            audit.write(AuditAction.TENANT_UPDATED, actor=SETUP, object=about, tenant=tenant.pk)


@pytest.fixture
def intruder(stack: Stack, control: None) -> Iterator[Sql]:
    """Runs SQL as the superuser, with the guarding triggers switched off."""
    with psycopg.connect(stack.superuser_url, dbname="tenure", autocommit=True) as connection:
        for table in ("audit_entry", "audit_chain"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        yield connection.execute


def found(tenant: Tenant) -> list[tuple[int, str]]:
    report = audit.verify()
    assert report.wrong == len(report.places)
    assert {place.chain for place in report.places} <= {tenant.audit_chain}
    return [(place.seq, place.what) for place in report.places]


def test_an_untouched_log_is_intact(acme: Tenant, globex: Tenant) -> None:
    write(globex, 2)
    report = audit.verify()
    assert (report.intact, report.chains, report.entries, report.places) == (True, 2, 7, ())


def test_an_edited_body_shows_at_its_entry(acme: Tenant, intruder: Sql) -> None:
    intruder("UPDATE audit_entry SET body = replace(body, '\"done\"', '\"refused\"') WHERE seq = 3")
    assert found(acme) == [(3, "hash")]


def test_a_flipped_bit_of_a_hash_shows_at_its_entry_and_the_next(acme: Tenant, intruder: Sql) -> None:
    intruder("UPDATE audit_entry SET hash = set_bit(hash, 0, 1 - get_bit(hash, 0)) WHERE seq = 2")
    assert found(acme) == [(2, "hash"), (3, "link")]


def test_an_entry_cut_out_shows_as_a_gap(acme: Tenant, intruder: Sql) -> None:
    intruder("DELETE FROM audit_entry WHERE seq = 3")
    assert found(acme) == [(4, "number"), (4, "link")]


def test_a_gap_that_was_closed_by_renumbering_still_shows(acme: Tenant, intruder: Sql) -> None:
    intruder("DELETE FROM audit_entry WHERE seq = 5")
    intruder("UPDATE audit_entry SET seq = 5 WHERE seq = 4")
    assert found(acme) == [(5, "number"), (5, "hash"), (5, "end")]


def test_two_swapped_bodies_show_at_both(acme: Tenant, intruder: Sql) -> None:
    first, second = AuditEntry.objects.filter(seq__in=(2, 3)).values_list("body", flat=True)
    intruder("UPDATE audit_entry SET body = gen_random_uuid() || body WHERE false")  # the statement form is allowed
    intruder("ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_entry_key CASCADE")
    intruder("UPDATE audit_entry SET body = CASE seq WHEN 2 THEN %s ELSE %s END WHERE seq IN (2, 3)", (second, first))
    assert found(acme) == [(2, "hash"), (3, "hash")]


def test_a_tail_cut_off_shows_at_the_end(acme: Tenant, intruder: Sql) -> None:
    intruder("DELETE FROM audit_entry WHERE seq > 3")
    assert found(acme) == [(3, "end")]


def test_a_chain_emptied_of_its_entries_shows(acme: Tenant, intruder: Sql) -> None:
    intruder("DELETE FROM audit_entry")
    assert found(acme) == [(0, "end")]


def test_an_entry_moved_in_from_another_chain_shows(acme: Tenant, globex: Tenant, intruder: Sql) -> None:
    write(globex, 1)
    intruder("UPDATE audit_entry SET chain = %s, seq = 6 WHERE chain = %s", (acme.audit_chain, globex.audit_chain))
    intruder("DELETE FROM audit_chain WHERE chain = %s", (globex.audit_chain,))
    assert found(acme) == [(6, "link"), (6, "hash"), (6, "end")]


def test_a_chain_rewritten_with_new_hashes_is_beyond_this_check(acme: Tenant, intruder: Sql) -> None:
    """Said aloud, so that nobody relies on it: only a checkpoint kept elsewhere shows this."""
    prev = GENESIS
    for entry in AuditEntry.objects.filter(chain=acme.audit_chain).order_by("seq"):
        body = entry.body.replace('"done"', '"refused"')
        made = entry_hash(acme.audit_chain, entry.seq, prev, body)
        intruder("UPDATE audit_entry SET body = %s, prev = %s, hash = %s WHERE seq = %s", (body, prev, made, entry.seq))
        prev = made
    intruder("UPDATE audit_chain SET head = %s", (prev,))
    assert audit.verify().intact


def test_only_the_asked_chain_is_verified(acme: Tenant, globex: Tenant, intruder: Sql) -> None:
    write(globex, 1)
    intruder("UPDATE audit_entry SET body = replace(body, '\"done\"', '\"refused\"') WHERE seq = 3")
    assert audit.verify(globex.audit_chain).intact
    assert audit.verify(acme.audit_chain).places == (Wrong(acme.audit_chain, 3, "hash"),)


def test_many_wrong_places_are_counted_and_the_first_are_listed(acme: Tenant, intruder: Sql) -> None:
    write(acme, 115)
    intruder("UPDATE audit_entry SET body = replace(body, '\"done\"', '\"refused\"')")
    report = audit.verify()
    assert (report.wrong, len(report.places)) == (120, audit.SHOWN)


def test_the_database_and_python_compute_the_same_hash(acme: Tenant) -> None:
    prev = GENESIS
    for entry in AuditEntry.objects.filter(chain=acme.audit_chain).order_by("seq"):
        assert bytes(entry.hash) == entry_hash(acme.audit_chain, entry.seq, prev, entry.body)
        prev = bytes(entry.hash)


class TestTheCommand:
    def test_it_says_what_it_verified_and_writes_that_down(self, acme: Tenant) -> None:
        out = StringIO()
        call_command("verify_audit", stdout=out)
        assert out.getvalue() == "intact: 5 entries in 1 chains\n"
        entry = AuditEntry.objects.get(chain=audit.PLATFORM_CHAIN)
        assert entry.public["action"] == "audit.verified"
        assert entry.public["counts"] == {
            "chains": 1,
            "checkpoints": 0,
            "entries": 5,
            "findings": 0,
            "payloads": 0,
        }

    def test_it_names_each_wrong_place_and_fails(self, acme: Tenant, intruder: Sql) -> None:
        intruder("UPDATE audit_entry SET body = replace(body, '\"done\"', '\"refused\"') WHERE seq = 3")
        err = StringIO()
        with pytest.raises(CommandError, match="1 places are wrong in 5 entries") as failed:
            call_command("verify_audit", stderr=err)
        assert failed.value.returncode == 1
        assert err.getvalue() == f"tampered: chain {acme.audit_chain}, entry 3: its hash is wrong\n"
        assert AuditEntry.objects.get(chain=audit.PLATFORM_CHAIN).public["outcome"] == "failed"
