"""Data keys in an application's process: asked for at the control plane, kept for minutes, rotated, destroyed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from controlplane.keys import make_key
from controlplane.models import Scope
from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.models import DataKey
from provisioning.providers import keys as ring
from provisioning.providers.keys import KeyInUse
from tenants.context import TenantContext, tenant_scope
from tenants.isolation import keys
from tenants.isolation.envelope import key_id_of
from tenants.isolation.fields import Ciphertext, NotBoundToARow, NotSearchable
from tenants.isolation.keys import (
    KeyDestroyed,
    KeyDisabled,
    KeysRefused,
    KeysUnavailable,
    NoKeySource,
    TenantKeys,
    UnknownKey,
)
from tenants.isolation.reencryption import named_keys, reencrypt
from tenants.isolation.remote import ControlPlane
from tenants.models import Tenant
from tenants.states import TenantState
from tests.fleet import BILLING
from tests.live import Live
from tests.pair import Pair
from tests.tenants.isolation.test_fields import raw
from tests.tenants.isolation.vault import Entry, vaults

pytestmark = pytest.mark.long

SECRET = "the recipe is 1 part salt"


@pytest.fixture(autouse=True)
def _source_put_back() -> Iterator[None]:
    former = keys._kept.source
    keys.forget()
    yield
    keys.register(former)


@pytest.fixture
def changing(stack: Stack, changing_pair: Pair) -> Iterator[Pair]:
    with vaults(stack, changing_pair):
        yield changing_pair


class Counting:
    """A source that answers what another one said, and counts how often it is asked."""

    def __init__(self, answer: TenantKeys) -> None:
        self.answer, self.asked = answer, 0

    def data_keys(self, _context: TenantContext) -> TenantKeys:
        self.asked += 1
        return self.answer


def old(seconds: float) -> None:
    """Make what this process knows so much older."""
    for incarnation, answer in keys._kept.answers.items():
        keys._kept.answers[incarnation] = replace(answer, asked_at=answer.asked_at - seconds)


def tenant(context: TenantContext) -> Tenant:
    return Tenant.objects.get(pk=context.tenant_id)


def rotate(context: TenantContext) -> None:
    lifecycle.rotate_data_key(tenant=tenant(context), reason="it is time", actor=BILLING)


def settle() -> None:
    """As if the retirements were long ago."""
    DataKey.objects.filter(state="retired").update(retired_at=timezone.now() - timedelta(hours=1))


class TestAProcessKnowsThemForFiveMinutes:
    def test_and_then_asks_again(self, pair: Pair) -> None:
        keys.register(source := Counting(keys.of(pair.acme)))
        for _turn in range(3):
            keys.of(pair.acme)
        assert source.asked == 1
        old(keys.KEPT_S)
        keys.of(pair.acme)
        assert source.asked == 2

    def test_an_unknown_key_id_is_asked_for_once_in_a_while(self, pair: Pair) -> None:
        keys.register(source := Counting(keys.of(pair.acme)))
        for _turn in range(5):
            with pytest.raises(UnknownKey):
                keys.to_read(pair.acme, pair.acme.tenant_id)
        assert source.asked == 2

    def test_a_key_made_elsewhere_meanwhile_is_found_at_once(self, changing: Pair) -> None:
        context = changing.acme
        known = keys.of(context)
        rotate(context)  # in this process, which forgets
        fresh = keys.of(context).active.id
        keys.register(keys._kept.source)
        keys._kept.answers[context.incarnation] = keys._Answer(known, float("inf"))
        assert keys.to_read(context, fresh).id == fresh

    def test_it_remembers_a_limited_number_of_tenants(self, pair: Pair) -> None:
        from uuid import uuid4

        keys.register(Counting(keys.of(pair.acme)))
        for _number in range(keys.MOST_KEPT + 10):
            keys.of(replace(pair.acme, incarnation=uuid4()))
        assert len(keys._kept.answers) == keys.MOST_KEPT

    def test_without_a_source_the_cure_is_named(self, pair: Pair) -> None:
        keys.register(None)
        with pytest.raises(NoKeySource) as refused:
            keys.of(pair.acme)
        assert "TENURE_API_URL" in refused.value.cure


class TestTheDoor:
    """Over HTTP, at the control plane's own process."""

    def control_plane(self, live: Live, key: str) -> ControlPlane:
        return ControlPlane(f"http://127.0.0.1:{live.web}", key)

    def test_it_hands_out_what_opens_the_tenants_fields(self, stack: Stack, pair: Pair, live: Live) -> None:
        with vaults(stack, pair), tenant_scope(pair.acme):
            made = Entry.objects.create(title="salt", note=SECRET)
            keys.register(self.control_plane(live, pair.key))
            assert Entry.objects.get(pk=made.pk).note == SECRET
            assert Entry.objects.get(note_index=SECRET).pk == made.pk

    def test_each_tenant_has_keys_of_its_own(self, pair: Pair, live: Live) -> None:
        plane = self.control_plane(live, pair.key)
        ours, theirs = plane.data_keys(pair.acme), plane.data_keys(pair.globex)
        assert len({ours.active.key, theirs.active.key, ours.index.key, theirs.index.key}) == 4

    def test_a_key_without_the_scope_is_refused(self, changing_pair: Pair, live: Live) -> None:
        key = make_key(principal="site", name="site", scopes=[Scope.TENANTS_CREDENTIALS], actor=BILLING)
        with pytest.raises(KeysRefused, match=r"tenants:keys.*403"):
            self.control_plane(live, key.token).data_keys(changing_pair.acme)

    def test_a_suspended_tenants_keys_are_not_handed_out(self, changing_pair: Pair, live: Live) -> None:
        plane = self.control_plane(live, changing_pair.key)
        assert plane.data_keys(changing_pair.acme)
        Tenant.objects.filter(slug="acme").update(state=TenantState.SUSPENDED)
        with pytest.raises(KeysRefused, match="409"):
            plane.data_keys(changing_pair.acme)
        assert plane.data_keys(changing_pair.globex)

    def test_destroyed_and_disabled_keys_are_told_apart(self, changing_pair: Pair, live: Live) -> None:
        plane, acme = self.control_plane(live, changing_pair.key), changing_pair.acme
        theirs = DataKey.objects.filter(owner_ref=acme.tenant_id)
        theirs.update(state="disabled")
        with pytest.raises(KeyDisabled, match="409"):
            plane.data_keys(acme)
        theirs.update(state="destroyed", wrapped=None, destroyed_at=timezone.now())
        with pytest.raises(KeyDestroyed, match="410"):
            plane.data_keys(acme)
        assert plane.data_keys(changing_pair.globex)

    def test_silence_is_no_refusal(self, pair: Pair) -> None:
        with pytest.raises(KeysUnavailable):
            ControlPlane("http://127.0.0.1:1", "tnr_key").data_keys(pair.acme)

    def test_silence_forgets_nothing_and_a_refusal_does(self, pair: Pair) -> None:
        known = keys.of(pair.acme)
        keys._kept.source = ControlPlane("http://127.0.0.1:1", "tnr_key")
        with pytest.raises(KeysUnavailable):
            keys.to_read(pair.acme, pair.acme.tenant_id)
        assert keys.of(pair.acme) is known


class TestRotation:
    def test_a_new_key_writes_at_once_and_the_former_one_still_opens(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            first = Entry.objects.create(title="a", note=SECRET)
            former = keys.of(changing.acme).active.id
            rotate(changing.acme)
            second = Entry.objects.create(title="b", note=SECRET)
            assert key_id_of(raw(changing.acme, first.pk)) == former
            assert key_id_of(raw(changing.acme, second.pk)) == keys.of(changing.acme).active.id != former
            assert [entry.note for entry in Entry.objects.all()] == [SECRET, SECRET]

    def test_every_value_is_brought_along_and_counted(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            Entry.objects.bulk_create([Entry(title=f"{n:03}", note=f"secret {n}", facts=n) for n in range(25)])
            former = keys.of(changing.acme).active.id
            rotate(changing.acme)
            active = keys.of(changing.acme).active.id
            assert named_keys() == {former: 50}
            assert list(reencrypt(batch=10)) == [10, 10, 5, 10, 10, 5]
            assert named_keys() == {active: 50}
            assert list(reencrypt()) == []
            assert [(e.note, e.facts) for e in Entry.objects.all()] == [(f"secret {n}", n) for n in range(25)]

    def test_a_key_that_a_row_names_is_not_destroyed(self, changing: Pair) -> None:
        acme = changing.acme
        with tenant_scope(acme):
            Entry.objects.create(title="a", note=SECRET)
            former = keys.of(acme).active.id
        rotate(acme)
        settle()
        with pytest.raises(KeyInUse, match="1 encrypted values"):
            lifecycle.destroy_data_key(tenant=tenant(acme), key_id=former, actor=BILLING)
        with tenant_scope(acme):
            list(reencrypt())
        lifecycle.destroy_data_key(tenant=tenant(acme), key_id=former, actor=BILLING)
        assert (DataKey.objects.get(key_id=former).state, lifecycle.retired_data_keys(tenant=tenant(acme))) == (
            "destroyed",
            [],
        )
        with tenant_scope(acme):
            assert Entry.objects.get().note == SECRET

    def test_nor_is_one_that_a_process_may_write_with_still_nor_the_active_one(self, changing: Pair) -> None:
        acme = changing.acme
        former = keys.of(acme).active.id
        rotate(acme)
        for key_id, why in ((former, "less than 600 s"), (keys.of(acme).active.id, "not a retired key")):
            with pytest.raises(KeyInUse, match=why):
                lifecycle.destroy_data_key(tenant=tenant(acme), key_id=key_id, actor=BILLING)
        with pytest.raises(KeyInUse, match="not a retired key"):
            lifecycle.destroy_data_key(tenant=tenant(changing.globex), key_id=former, actor=BILLING)

    def test_the_commands_do_it_all(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            Entry.objects.create(title="a", note=SECRET, facts=[1])
        out = StringIO()
        call_command("rotate_data_key", "acme", "--because", "it is time", stdout=out)
        settle()
        call_command("reencrypt", "acme", "--destroy", stdout=out)
        said = out.getvalue()
        assert ("2 values encrypted again; 2 are under key" in said, "is destroyed" in said) == (True, True)
        assert sorted(
            DataKey.objects.filter(owner_ref=changing.acme.tenant_id, purpose="tenant").values_list("state", flat=True)
        ) == ["active", "destroyed"]
        with pytest.raises(CommandError, match="no tenant nobody"):
            call_command("rotate_data_key", "nobody", "--because", "it is time")
        with pytest.raises(CommandError, match="why"):
            call_command("rotate_data_key", "acme", "--because", " ")

    def test_globex_notices_nothing(self, changing: Pair) -> None:
        before = keys.of(changing.globex)
        rotate(changing.acme)
        assert keys.of(changing.globex).active.id == before.active.id


class TestADestroyedKeyOpensNothing:
    """AT-81. The control: before, and for globex, it opens."""

    def shred(self, context: TenantContext) -> None:
        DataKey.objects.filter(owner_ref=context.tenant_id).update(
            state="destroyed", wrapped=None, destroyed_at=timezone.now()
        )

    def test_within_one_lifetime_of_the_cache(self, changing: Pair) -> None:
        with tenant_scope(changing.globex):
            Entry.objects.create(title="a", note="globex's own")
        with tenant_scope(changing.acme):
            Entry.objects.create(title="a", note=SECRET)
            self.shred(changing.acme)
            old(keys.KEPT_S - 10)
            assert Entry.objects.get().note == SECRET  # this process still knows the key
            old(10)
            with pytest.raises(KeyDestroyed):
                _ = Entry.objects.get().note
            with pytest.raises(KeyDestroyed):
                Entry.objects.create(title="b", note=SECRET)
            assert Entry.objects.get().title == "a"  # what is not encrypted can still be read, and the row deleted
            Entry.objects.get().delete()
        with tenant_scope(changing.globex):
            assert Entry.objects.get().note == "globex's own"

    def test_one_destroyed_key_among_others_names_itself(self, changing: Pair) -> None:
        acme = changing.acme
        with tenant_scope(acme):
            lost = Entry.objects.create(title="a", note=SECRET)
            rotate(acme)
            Entry.objects.create(title="b", note=SECRET)
            DataKey.objects.filter(owner_ref=acme.tenant_id, state="retired").update(
                state="destroyed", wrapped=None, destroyed_at=timezone.now()
            )
            keys.forget()
            with pytest.raises(KeyDestroyed):
                _ = Entry.objects.get(title="a").note
            assert Entry.objects.get(title="b").note == SECRET
            entry = Entry.objects.get(title="a")
            entry.title = "still"
            entry.save(update_fields=["title"])
            with pytest.raises(KeyDestroyed):
                entry.save()  # never written back as it was read: nobody would notice that it is lost
            assert isinstance(entry.__dict__["note"], Ciphertext)
            assert lost.pk == entry.pk

    def test_nor_do_rows_that_a_backup_brings_back(self, changing: Pair) -> None:
        """AT-82: the rows return, the key does not, for the keyring is no part of a backup of the rows."""
        backup = {}
        for context in (changing.acme, changing.globex):
            with tenant_scope(context):
                made = Entry.objects.create(title="a", note=f"{context.slug}'s own")
                backup[context] = (made.pk, raw(context, made.pk))
                made.delete()
        self.shred(changing.acme)
        keys.forget()
        for context, (row, value) in backup.items():
            with tenant_scope(context), connections[context.key].cursor() as cursor:
                cursor.execute("INSERT INTO vault_entry (id, title, note) VALUES (%s, 'a', %s)", [row, value])
        with tenant_scope(changing.acme), pytest.raises(KeyDestroyed):
            _ = Entry.objects.get().note
        with tenant_scope(changing.globex):
            assert Entry.objects.get().note == "globex's own"

    def test_no_new_key_is_made_in_its_place(self, changing: Pair) -> None:
        self.shred(changing.acme)
        with pytest.raises(ring.KeyDestroyed):
            rotate(changing.acme)
        assert not DataKey.objects.filter(owner_ref=changing.acme.tenant_id).exclude(state="destroyed").exists()


class TestBlindIndexes:
    """AT-83. One tenant's index finds nothing of another's."""

    def test_equal_texts_are_found_and_nothing_else(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            for title, note in (("a", SECRET), ("b", "else"), ("c", None)):
                Entry.objects.create(title=title, note=note)
            assert [e.title for e in Entry.objects.filter(note_index=SECRET)] == ["a"]
            assert [e.title for e in Entry.objects.filter(note_index__in=[SECRET, "else"])] == ["a", "b"]
            assert [e.title for e in Entry.objects.filter(note_index__isnull=True)] == ["c"]
            assert not Entry.objects.filter(note_index=SECRET.upper()).exists()
            entry = Entry.objects.get(title="a")
            entry.note = "changed"
            entry.save()
            assert [e.title for e in Entry.objects.filter(note_index="changed")] == ["a"]
            assert not Entry.objects.filter(note_index=SECRET).exists()

    def test_anothers_index_value_finds_nothing(self, changing: Pair) -> None:
        for context in (changing.acme, changing.globex):
            with tenant_scope(context):
                Entry.objects.create(title="a", note=SECRET)
        seen = {}
        for context in (changing.acme, changing.globex):
            with tenant_scope(context):
                seen[context.slug] = raw(context, Entry.objects.get().pk, "note_index")
                assert Entry.objects.filter(note_index=SECRET).exists()
        assert seen["acme"] != seen["globex"]

    def test_two_columns_do_not_tell_which_rows_share_a_value(self, pair: Pair) -> None:
        from tenants.isolation.envelope import blind_index

        with tenant_scope(pair.acme):
            assert blind_index(b"x", "t", "a") == blind_index(b"x", "t", "a") != blind_index(b"x", "t", "b")

    def test_it_survives_a_rotation_of_the_data_key(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            Entry.objects.create(title="a", note=SECRET)
            rotate(changing.acme)
            list(reencrypt())
            assert Entry.objects.filter(note_index=SECRET).exists()

    def test_what_would_part_it_from_its_value_is_refused(self, changing: Pair) -> None:
        with tenant_scope(changing.acme):
            entry = Entry.objects.create(title="a", note=SECRET)
            with pytest.raises(NotBoundToARow, match="blind index note_index"):
                entry.save(update_fields=["note"])
            entry.save(update_fields=["note", "note_index"])
            with pytest.raises(NotBoundToARow):
                Entry.objects.update(note_index="x")
            with pytest.raises(NotSearchable):
                Entry.objects.filter(note_index__contains="x").exists()


def shell(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from tenants.isolation import keys; from tenants.context import current\n"
        "try:\n    print(keys.of(current()).active.state)\nexcept keys.KeysRefused as error:\n    print(error.code)"
    )
    return subprocess.run(
        (sys.executable, "manage.py", "tenant_shell", "acme", *options, "-v", "0", "-c", code),
        env={**os.environ, **stack.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_shell_opens_encrypted_fields_only_when_that_is_asked_for(pair: Pair, stack: Stack) -> None:
    closed, opened = shell(stack), shell(stack, "--data-keys")
    assert closed.stdout.strip() == "DATA_KEYS_REFUSED", closed.stderr
    assert opened.stdout.strip() == "active", opened.stderr


def test_no_key_is_in_a_repr(pair: Pair) -> None:
    found: Any = keys.of(pair.acme)
    shown = repr(found)
    assert str(found.active.key) not in shown
    assert "key=" not in shown.replace("DataKey(", "")
