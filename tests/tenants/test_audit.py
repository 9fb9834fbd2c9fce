import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import get_commands
from django.db import connections, transaction
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tenants import audit
from tenants.actions import COUNTS, SYSTEM_ACTORS
from tenants.audit import PLATFORM_CHAIN, Actor, AuditAction, AuditBodyError, Entry, ObjectType, Outcome, body_of
from tenants.models import AuditChain, AuditEntry, Plan, Tenant

ALICE = Actor(kind="user", id="7", name="Alice Liddell")
KEYS_OF_A_BODY = set(
    "v entry at action actor tenant object_type object_id outcome operation request keys counts commits".split()
)

WORDS = {*AuditAction, *Outcome, *ObjectType, *COUNTS, *SYSTEM_ACTORS, *get_commands()}  # these may get in


@pytest.fixture
def acme(plan: Plan) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")


def created(tenant: Tenant) -> None:
    audit.write(AuditAction.TENANT_CREATED, actor=ALICE, object=(ObjectType.TENANT, tenant.pk), tenant=tenant.pk)


def test_an_entry_says_what_happened_in_ids_and_words(acme: Tenant) -> None:
    operation, request, key = uuid4(), uuid4(), uuid4()
    with transaction.atomic():
        audit.write(
            "credentials.handed_out",
            actor=ALICE,
            object=("tenant", acme.pk),
            outcome="done",
            tenant=acme.pk,
            operation=operation,
            request=request,
            keys=[key],
            counts={"duration_s": 900},
        )
    public = AuditEntry.objects.get().public
    assert public.pop("at").endswith("+00:00")
    assert UUID(public.pop("entry")) == AuditEntry.objects.get().entry
    assert public == {
        "v": 1,
        "action": "credentials.handed_out",
        "actor": "user:7",
        "tenant": str(acme.pk),
        "object_type": "tenant",
        "object_id": str(acme.pk),
        "outcome": "done",
        "operation": str(operation),
        "request": str(request),
        "keys": [str(key)],
        "counts": {"duration_s": 900},
        "commits": {},
    }


def test_each_tenant_has_a_chain_and_the_platform_has_one(acme: Tenant, globex: Tenant) -> None:
    with transaction.atomic():
        created(acme)
        audit.write(AuditAction.API_KEY_CREATED, actor=ALICE, object=(ObjectType.API_KEY, uuid4()))
    with transaction.atomic():
        created(globex)
        created(globex)
    sizes = dict(AuditChain.objects.values_list("chain", "size"))
    assert sizes == {acme.audit_chain: 1, globex.audit_chain: 2, PLATFORM_CHAIN: 1}
    assert list(AuditEntry.objects.filter(chain=globex.audit_chain).values_list("seq", flat=True)) == [1, 2]


def test_no_name_of_a_person_or_tenant_is_in_the_log(acme: Tenant) -> None:
    with transaction.atomic():
        created(acme)
    body = AuditEntry.objects.get().body
    assert "Alice" not in body
    assert "acme" not in body.lower()


def test_an_entry_outside_a_transaction_is_refused(acme: Tenant) -> None:
    with pytest.raises(audit.AuditOutsideTransaction) as refused:
        created(acme)
    assert "transaction.atomic" in refused.value.cure
    assert not AuditEntry.objects.exists()


def test_an_entry_goes_when_its_change_is_rolled_back(acme: Tenant) -> None:
    with transaction.atomic():
        created(acme)
        transaction.set_rollback(True)
    with transaction.atomic():
        created(acme)
    assert list(AuditEntry.objects.values_list("seq", flat=True)) == [1]  # no number was lost with it


def test_entries_written_together_lock_their_chains_in_one_order(acme: Tenant, globex: Tenant) -> None:
    entries = [
        Entry(AuditAction.TENANT_UPDATED, ALICE, (ObjectType.TENANT, tenant.pk), tenant=tenant.pk)
        for tenant in sorted((acme, globex), key=lambda each: each.audit_chain, reverse=True)
    ]
    with transaction.atomic():
        audit.write_together(entries)
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT chain FROM audit_entry ORDER BY cmin::text::bigint")  # as they came
        written = [chain for (chain,) in cursor.fetchall()]
    assert written == sorted(tenant.audit_chain for tenant in (acme, globex))


def test_a_hundred_transactions_at_once_leave_a_chain_without_gaps(acme: Tenant) -> None:
    """One in ten is rolled back after it wrote: its number must go to the next one."""

    def work(number: int) -> None:
        try:
            with transaction.atomic():
                created(acme)
                if number % 10 == 0:
                    transaction.set_rollback(True)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    seqs = list(AuditEntry.objects.filter(chain=acme.audit_chain).values_list("seq", flat=True))
    assert seqs == list(range(1, 91))
    assert audit.verify().intact


class TestTheBodyIsClosed:
    """Whatever is passed where a word or an id belongs, only words of the lists, UUIDs and whole numbers get in."""

    FREE: dict[str, Any] = {
        "action": lambda text: {"action": text},
        "outcome": lambda text: {"outcome": text},
        "actor's id": lambda text: {"actor": Actor(kind="user", id=text, name="")},
        "command": lambda text: {"actor": Actor(kind="command", id=text, name="")},
        "system part": lambda text: {"actor": Actor(kind="system", id=text, name="")},
        "actor's kind": lambda text: {"actor": Actor(kind=text, id="7", name="")},
        "object's type": lambda text: {"object": (text, 1)},
        "object's id": lambda text: {"object": (ObjectType.TENANT, text)},
        "tenant": lambda text: {"tenant": text},
        "operation": lambda text: {"operation": text},
        "request": lambda text: {"request": text},
        "key": lambda text: {"keys": (text,)},
        "count's word": lambda text: {"counts": {text: 1}},
        "count": lambda text: {"counts": {"rows": text}},
    }

    @staticmethod
    def body(**changed: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {"action": "tenant.created", "actor": ALICE, "object": ("tenant", 1)}
        found: dict[str, Any] = json.loads(body_of(Entry(**{**fields, **changed})))
        return found

    @pytest.mark.parametrize("place", FREE.values(), ids=list(FREE))
    @given(text=st.text(alphabet=st.characters(exclude_categories=["Nd"])) | st.emails())
    @example(text="")
    @example(text="Alice Liddell")
    @example(text="7 OR 1=1")
    @example(text="203.0.113.9")
    @example(text="\u0667")  # an Arabic seven: a digit to Python, and to nobody's primary key
    @example(text="{00000000-0000-4000-8000-000000000000}")
    @example(text="tenant.created\n")
    def test_free_text_gets_in_nowhere(self, place: Any, text: str) -> None:
        assume(text not in WORDS)
        with pytest.raises(AuditBodyError) as refused:
            self.body(**place(text))
        assert refused.value.__cause__ is None  # what was passed must not reach a traceback either
        if len(text) > 12:
            assert text not in str(refused.value)

    @pytest.mark.parametrize("value", [True, 1.5, b"7", ["x"], {"a": 1}, None])
    def test_nothing_but_uuids_and_whole_numbers_is_an_id_or_a_number(self, value: Any) -> None:
        for changed in ({"object": ("tenant", value)}, {"counts": {"rows": value}}, {"keys": (value,)}):
            with pytest.raises(AuditBodyError):
                self.body(**changed)

    @given(
        action=st.sampled_from(AuditAction),
        outcome=st.sampled_from(Outcome),
        object=st.tuples(st.sampled_from(ObjectType), st.uuids() | st.integers(0, 2**63 - 1)),
        tenant=st.none() | st.uuids(),
        operation=st.none() | st.uuids(),
        request=st.none() | st.uuids(),
        keys=st.lists(st.uuids(), max_size=3),
        counts=st.dictionaries(st.sampled_from(sorted(COUNTS)), st.integers(-(2**63), 2**63)),
        actor=st.builds(Actor, st.just("api_key"), st.uuids().map(str) | st.integers(0).map(str), st.text())
        | st.builds(Actor, st.just("system"), st.sampled_from(["engine", "sweeper"]), st.text())
        | st.builds(Actor, st.just("command"), st.just("verify_audit"), st.text()),
    )
    def test_every_entry_has_exactly_the_keys_of_the_format(self, *, keys: Any, **fields: Any) -> None:
        entry = Entry(**fields, keys=tuple(keys))
        body = body_of(entry)
        assert set(json.loads(body)) == KEYS_OF_A_BODY
        assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
        assert body.isascii()

    def test_the_database_refuses_a_body_with_another_key(self, control: None) -> None:
        """The runtime role may call audit_append itself, with any text."""
        from django.db import IntegrityError

        for changed in ({"note": "called by Alice"}, {"actor": None}):
            body = {**self.body(), **changed}
            if changed.get("actor", "") is None:
                del body["actor"]
            with (
                pytest.raises(IntegrityError, match="audit_entry_body_closed"),
                transaction.atomic(),
                connections["default"].cursor() as cursor,
            ):
                cursor.execute("SELECT audit_append(%s, %s)", (uuid4(), json.dumps(body)))
