"""What a person typed lies sealed beside the log; whoever erases it leaves a chain that verifies, and says so."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connections, transaction

from controlplane.stack.embedded import Stack
from provisioning.models import DataKey
from tenants import audit
from tenants.audit import PLATFORM_CHAIN, Actor, AuditAction, AuditBodyError, ObjectType, sources
from tenants.models import AuditEntry, Plan, Tenant

ALICE = Actor(kind="user", id="7", name="Alice Liddell")
BOB = Actor(kind="user", id="8", name="Bob Dodgson")
SWEEPER = Actor(kind="system", id="sweeper", name="the sweeper")
SAID = "Mrs Hargreaves called twice"
Sql = Callable[..., Any]


@pytest.fixture
def acme(plan: Plan) -> Tenant:
    """With three entries: what Alice said, nothing, and what Bob said."""
    tenant = Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")
    say(tenant, ALICE, SAID)
    say(tenant, ALICE, "")
    say(tenant, BOB, "as agreed by phone")
    return tenant


def say(tenant: Tenant, actor: Actor, reason: str) -> None:
    with transaction.atomic():
        audit.write(
            AuditAction.TENANT_UPDATED,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            personal=audit.typed(actor, reason),
        )


def erase(*, tenants: tuple[UUID, ...] = (), people: tuple[str, ...] = ()) -> audit.Erased:
    return audit.erase(request=uuid4(), actor=SWEEPER, tenants=tenants, people=people)


def found() -> set[tuple[int, str, str]]:
    report = audit.verify()
    assert report.intact == (not report.places)
    return {(place.seq, place.what, place.verdict) for place in report.places}


def everything(stack: Stack) -> str:
    """Every column of the control and keyring databases, as text."""
    text = []
    for name in ("tenure", "tenure_keyring"):
        with psycopg.connect(stack.superuser_url, dbname=name) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                text += [str(row) for row in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()]
    return "\n".join(text)


def test_what_a_person_typed_is_sealed_and_only_committed_to(acme: Tenant, stack: Stack) -> None:
    assert "Hargreaves" not in everything(stack)
    assert "Liddell" not in everything(stack)
    first, second, third = AuditEntry.objects.filter(chain=acme.audit_chain)
    assert set(first.public["commits"]) == {"reason", "actor_name"}
    assert second.public["commits"] == {}
    assert first.public["commits"]["reason"][0] != third.public["commits"]["reason"][0]  # a key per person
    report = audit.verify()
    assert (report.status, report.sealed, report.erased) == ("clean", 4, 0)
    assert audit.personal_of([first.entry, second.entry]) == {
        first.entry: {"reason": SAID, "actor_name": "Alice Liddell"}
    }
    erase(people=("user:7",))
    assert audit.personal_of([first.entry]) == {first.entry: {"reason": None, "actor_name": None}}


def test_one_person_is_erased_in_every_chain_and_the_chains_still_verify(acme: Tenant, globex: Tenant) -> None:
    say(globex, ALICE, SAID)
    assert erase(people=("user:7",)) == audit.Erased(keys=2, payloads=4)
    report = audit.verify()
    assert (report.status, report.sealed, report.erased) == ("clean", 2, 4)
    words = ["payload.erased", "key.destroyed"]
    assert [entry.public["action"] for entry in AuditEntry.objects.filter(chain=globex.audit_chain)][1:] == words
    assert sorted(DataKey.objects.values_list("state", flat=True)) == ["active", "destroyed", "destroyed"]
    assert erase(people=("user:7",)) == audit.Erased(keys=0, payloads=0)  # and nothing is told twice
    say(globex, ALICE, "I am still here")  # under a key of her own again
    assert audit.verify().sealed == 4


def test_a_tenants_chain_is_erased_whole_and_nobody_elses(acme: Tenant, globex: Tenant) -> None:
    say(globex, ALICE, SAID)
    assert audit.payloads_of(tenants=(acme.pk,)) == 4
    assert erase(tenants=(acme.pk,)) == audit.Erased(keys=2, payloads=4)
    report = audit.verify()
    assert (report.status, report.sealed, report.erased) == ("clean", 2, 4)


def test_an_erasure_goes_on_after_a_crash_where_it_stopped(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(sources.keys()), "destroy", lambda *_args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase(tenants=(acme.pk,))
    assert audit.verify().erased == 4  # said and deleted; the keys live still
    assert erase(tenants=(acme.pk,)) == audit.Erased(keys=2, payloads=0)
    assert not DataKey.objects.exclude(state="destroyed").exists()
    actions = [entry.public["action"] for entry in AuditEntry.objects.filter(chain=acme.audit_chain)]
    assert actions[3:] == ["payload.erased", "key.destroyed"]


def test_nothing_is_sealed_behind_an_erasure(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer got his key before the erasure and comes to the chain after it."""
    keys = type(sources.keys())
    active = keys.active

    def slow(self: Any, owner: UUID) -> tuple[UUID, bytes]:
        key = active(self, owner)
        self.disable([key[0]])
        return key

    monkeypatch.setattr(keys, "active", slow)
    with pytest.raises(audit.PayloadKeyGone):
        say(acme, ALICE, "too late")
    assert AuditEntry.objects.filter(chain=acme.audit_chain).count() == 3


def test_an_act_does_not_wait_for_a_keyring_that_is_away(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources._registered, "keys", None)
    with caplog.at_level(logging.WARNING):
        say(acme, ALICE, SAID)
    assert "is written without reason, actor_name" in caplog.text
    assert "Hargreaves" not in caplog.text
    assert found() == {(1, "unreadable", "unreadable"), (3, "unreadable", "unreadable")}
    assert audit.verify().status == "unknown"


def test_without_a_personal_value_nobody_is_asked_for_a_key(acme: Tenant, django_assert_num_queries: Any) -> None:
    begin_append_commit = django_assert_num_queries(3, connection=connections["default"])
    with begin_append_commit, django_assert_num_queries(0, connection=connections["keyring"]):
        say(acme, ALICE, " ")


@pytest.mark.parametrize("personal", [{"note": "x"}, {"": "x"}, {"reason": SAID, "email": "a@example.org"}])
def test_what_may_be_sealed_is_a_closed_list(acme: Tenant, personal: dict[str, str]) -> None:
    with transaction.atomic(), pytest.raises(AuditBodyError):
        audit.write("tenant.updated", actor=ALICE, object=("tenant", acme.pk), personal=personal)


TAMPERING: dict[str, tuple[Any, set[tuple[int, str, str]]]] = {
    "a flipped byte": (
        lambda sql: sql("UPDATE audit_payload SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE {one}"),
        {(1, "payload", "tampered")},
    ),
    "two values swapped": (
        lambda sql: sql(
            "UPDATE audit_payload a SET sealed = b.sealed FROM audit_payload b"
            " WHERE a.entry = b.entry AND a.field <> b.field AND {a_one}"
        ),
        {(1, "payload", "tampered")},
    ),
    "a value under another key": (
        lambda sql: sql("UPDATE audit_payload SET key_id = gen_random_uuid() WHERE {one}"),
        {(1, "payload", "tampered")},
    ),
    "a value nobody committed to": (
        lambda sql: sql(
            "INSERT INTO audit_payload SELECT e.entry, 'reason', p.key_id, p.sealed FROM audit_entry e, audit_payload p"
            " WHERE e.chain = '{chain}' AND e.seq = 2 AND p.entry = {entry} AND p.field = 'reason'"
        ),
        {(2, "payload", "tampered")},
    ),
    "a silent scrub": (
        lambda sql: sql("DELETE FROM audit_payload WHERE {one}"),
        {(1, "missing", "missing")},
    ),
}


@pytest.mark.parametrize(("tamper", "wrong"), TAMPERING.values(), ids=TAMPERING.keys())
def test_a_changed_value_shows(tamper: Any, wrong: set[tuple[int, str, str]], acme: Tenant, stack: Stack) -> None:
    first = AuditEntry.objects.get(chain=acme.audit_chain, seq=1).entry
    with psycopg.connect(stack.superuser_url, dbname="tenure", autocommit=True) as connection:
        connection.execute("ALTER TABLE audit_payload DISABLE TRIGGER ALL")
        names = {
            "one": f"entry = '{first}' AND field = 'reason'",
            "a_one": f"a.entry = '{first}' AND a.field = 'reason'",
            "entry": f"'{first}'",
            "chain": acme.audit_chain,
        }
        tamper(lambda statement: connection.execute(statement.format(**names)))
    assert found() == wrong


def test_what_a_backup_brings_back_shows_and_goes_again(acme: Tenant, stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url, dbname="tenure", autocommit=True) as intruder:
        intruder.execute("CREATE TABLE kept AS SELECT * FROM audit_payload")
        erase(tenants=(acme.pk,))
        intruder.execute("INSERT INTO audit_payload SELECT * FROM kept")
        intruder.execute("DROP TABLE kept")
    resurrected = "resurrected"
    assert found() == {(1, resurrected, resurrected), (3, resurrected, resurrected)}
    assert erase(tenants=(acme.pk,)).payloads == 4
    assert audit.verify().intact


def test_a_keyring_from_before_the_erasure_shows(acme: Tenant, stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url, dbname="tenure_keyring", autocommit=True) as intruder:
        intruder.execute("CREATE TABLE kept AS SELECT * FROM data_key")
        erase(tenants=(acme.pk,))
        intruder.execute("DELETE FROM data_key; INSERT INTO data_key SELECT * FROM kept; DROP TABLE kept")
    assert {(place.seq, place.what) for place in audit.verify().places} == {(5, "resurrected")}


def test_an_entry_under_a_key_erased_before_it_shows(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    erase(people=("user:7",))
    key = DataKey.objects.get(state="destroyed")
    monkeypatch.setattr(type(sources.keys()), "active", lambda *_args: (key.key_id, bytes(32)))
    monkeypatch.setattr(type(sources.keys()), "are_active", lambda *_args: True)
    say(acme, ALICE, "from beyond")
    assert found() == {(6, "late", "late")}


def test_a_key_that_is_gone_without_a_word_is_not_clean(acme: Tenant) -> None:
    sources.keys().destroy([UUID(AuditEntry.objects.get(seq=3).public["commits"]["reason"][0])])
    assert found() == {(3, "unreadable", "unreadable")}
    assert audit.verify().status == "unknown"
    assert audit.verify(PLATFORM_CHAIN).intact
