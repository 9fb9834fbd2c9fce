"""The store of the audit log's personal values: one deletes, another counts, and neither believes the other."""

import time
from uuid import uuid4

import pytest
from django.db import transaction

from provisioning.erasure.erasers.audit_payload import AuditPayloads as Eraser
from provisioning.erasure.erasers.audit_payload import PayloadKeysUnreachable
from provisioning.erasure.stores import Budget, Identifier, Kind, Progress, Scope, judge
from provisioning.erasure.verifiers.audit_payload import KEYS, ROWS
from provisioning.erasure.verifiers.audit_payload import AuditPayloads as Verifier
from provisioning.models import DataKey
from tenants import audit
from tenants.audit import Actor, sources
from tenants.models import AuditEntry, Plan, Tenant
from tenants.states import Tier

ALICE, BOB = Actor(kind="user", id="7", name="Alice"), Actor(kind="user", id="8", name="Bob")


@pytest.fixture
def tenants(control: None) -> tuple[Tenant, Tenant]:
    """acme and globex, in both of whose chains Alice and Bob have said something."""
    plan = Plan.objects.create(name="standard", tier=Tier.SCHEMA)
    made = []
    for slug in ("acme", "globex"):
        tenant = Tenant.objects.create(slug=slug, name=slug, principal="billing", plan=plan, region="local")
        for actor in (ALICE, BOB):
            with transaction.atomic():
                said, about = audit.typed(actor, "as agreed"), ("tenant", tenant.pk)
                audit.write("tenant.updated", actor=actor, object=about, tenant=tenant.pk, personal=said)
        made.append(tenant)
    return made[0], made[1]


def scope(tenant: Tenant, kind: Kind = "tenant", *identifiers: Identifier) -> Scope:
    return Scope(kind, tenant.pk, tenant.incarnation, uuid4(), identifiers)


def counted(of: Scope) -> dict[str, int | None]:
    return {tally.locator: tally.n for tally in Verifier().count(of)}


def erased(of: Scope) -> Progress:
    eraser = Eraser()
    return eraser.erase(of, eraser.enumerate(of), None, Budget(1_000, time.monotonic() + 60), lambda: None)


def test_it_erases_what_was_counted_and_spares_the_neighbour(tenants: tuple[Tenant, Tenant]) -> None:
    acme, globex = map(scope, tenants)
    assert counted(acme) == counted(globex) == {ROWS: 4, KEYS: 2}
    assert (erased(acme).deleted, erased(acme).deleted) == (6, 0)
    verifier = Verifier()
    assert (counted(acme), counted(globex)) == ({ROWS: 0, KEYS: 0}, {ROWS: 4, KEYS: 2})
    verdict = judge(
        retained=0, counted=verifier.count(acme), control=verifier.control(acme), coverage=verifier.coverage(acme)
    )
    assert (verdict.status, verdict.reasons) == ("clean", ())
    assert audit.verify().intact


def test_a_person_goes_from_every_chain_and_nobody_else_does(tenants: tuple[Tenant, Tenant]) -> None:
    acme, globex = tenants
    alice = scope(acme, "subject", Identifier("actor", "user:7"), Identifier("email", "alice@example.org"))
    assert (counted(alice), erased(alice).deleted, counted(alice)) == ({ROWS: 4, KEYS: 2}, 6, {ROWS: 0, KEYS: 0})
    assert counted(scope(globex)) == {ROWS: 2, KEYS: 1}  # Bob's
    assert Verifier().control(alice).ok


def test_what_is_left_is_dirty_and_what_cannot_be_seen_is_unknown(
    tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = scope(tenants[0])
    committed = AuditEntry.objects.get(chain=tenants[0].audit_chain, seq=1).public["commits"]["reason"][0]
    key = DataKey.objects.filter(key_id=committed)
    wrapped = key.get().wrapped
    erased(acme)
    key.update(state="disabled", wrapped=wrapped, destroyed_at=None)
    verifier = Verifier()
    seen = verifier.control(acme), verifier.coverage(acme)
    verdict = judge(retained=0, counted=verifier.count(acme), control=seen[0], coverage=seen[1])
    assert verdict.reasons == (f"{KEYS} still holds 1",)
    with monkeypatch.context() as patch:
        patch.setattr(sources._registered, "keys", None)
        with pytest.raises(PayloadKeysUnreachable):
            erased(acme)
    monkeypatch.setattr(
        "provisioning.erasure.verifiers.audit_payload.SEES", "SELECT true, 1, 2 WHERE %(chain)s IS NOT NULL"
    )
    assert not Verifier().control(acme).ok
