"""Encrypted fields: what they hold in the database, what moves, what is refused. acme is in the schema tier, globex in
the database tier; each attack is shown beside the same statement done rightly."""

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core import serializers
from django.db import connections, models
from django.db.models import F, Value
from django.forms import modelform_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import keys
from tenants.isolation.envelope import FORM, ValueTampered, key_id_of
from tenants.isolation.fields import Ciphertext, EncryptedTextField, NotBoundToARow, NotSearchable, NotSerialisable
from tenants.isolation.keys import UnknownKey
from tenants.isolation.reencryption import named_keys, reencrypt
from tenants.models import Tenant
from tenants.states import Tier
from tests import fleet
from tests.pair import Pair
from tests.tenants.isolation.vault import Entry, pooled_vaults, vaults

SECRET = "the recipe is 1 part salt"


@pytest.fixture
def acme(stack: Stack, pair: Pair) -> Iterator[TenantContext]:
    with vaults(stack, pair):
        yield pair.acme


def raw(context: TenantContext, row: UUID, column: str = "note") -> bytes:
    """What the database holds."""
    with connections[context.key].cursor() as cursor:
        cursor.execute(f'SELECT "{column}" FROM vault_entry WHERE id = %s', [row])
        return bytes(cursor.fetchone()[0])


def put(context: TenantContext, row: UUID, value: bytes, column: str = "note") -> None:
    with connections[context.key].cursor() as cursor:
        cursor.execute(f'UPDATE vault_entry SET "{column}" = %s WHERE id = %s', [value, row])
        assert cursor.rowcount == 1


class TestWhatIsWrittenIsReadAgain:
    def test_text_and_json_come_back_and_the_database_never_sees_them(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            made = Entry.objects.create(title="salt", note=SECRET, facts={"parts": [1, "salt"]})
            read = Entry.objects.get(pk=made.pk)
            assert (read.note, read.facts) == (SECRET, {"parts": [1, "salt"]})
            for column in ("note", "facts"):
                held = raw(acme, made.pk, column)
                assert b"salt" not in held
                assert (held[:1], key_id_of(held)) == (FORM, keys.of(acme).active.id)

    def test_null_stays_null_and_the_empty_text_is_no_null(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="empty", note="")
            Entry.objects.create(title="null")
            assert [entry.note for entry in Entry.objects.order_by("title")] == ["", None]
            assert Entry.objects.filter(note__isnull=True).get().title == "null"

    def test_the_same_text_is_encrypted_differently_each_time(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            made = Entry.objects.create(title="salt", note=SECRET)
            first = raw(acme, made.pk)
            made.save()
            assert raw(acme, made.pk) != first
            assert Entry.objects.get().note == SECRET

    def test_many_at_once(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.bulk_create([Entry(title=f"{n:02}", note=f"secret {n}", facts=n) for n in range(20)])
            read = [(entry.note, entry.facts) for entry in Entry.objects.all()]
            assert read == [(f"secret {n}", n) for n in range(20)]

    def test_update_or_create_changes_the_row_it_found(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            for note in ("first", "second"):
                Entry.objects.update_or_create(title="salt", defaults={"note": note})
            assert Entry.objects.get().note == "second"

    def test_a_changed_json_value_is_saved(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", facts={"parts": 1})
            entry = Entry.objects.get()
            entry.facts["parts"] = 2
            entry.save()
            assert Entry.objects.get().facts == {"parts": 2}

    def test_deferred_and_refreshed_values_are_the_values(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            assert Entry.objects.defer("note").get().note == SECRET
            assert Entry.objects.only("title").get().note == SECRET
            entry = Entry.objects.get()
            entry.note = "something else"
            entry.refresh_from_db()
            assert entry.note == SECRET

    def test_saving_other_fields_leaves_the_value_alone(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            made = Entry.objects.create(title="salt", note=SECRET)
            before = raw(acme, made.pk)
            entry = Entry.objects.get()
            entry.title = "pepper"
            entry.save(update_fields=["title"])
            assert raw(acme, made.pk) == before

    def test_a_copy_under_a_new_key_holds_the_value_too(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            twin = Entry.objects.get()  # its value is not opened before it gets its own key
            twin.pk, twin.title, twin._state.adding = uuid4(), "twin", True
            twin.save()
            assert [entry.note for entry in Entry.objects.all()] == [SECRET, SECRET]
            assert copy.deepcopy(Entry.objects.get(title="twin")).note == SECRET

    def test_pickled_objects_hold_the_ciphertext_until_it_is_opened(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            kept = pickle.dumps(Entry.objects.get())
            assert SECRET.encode() not in kept
            assert pickle.loads(kept).note == SECRET  # noqa: S301  our own bytes

    def test_a_form_shows_and_changes_the_text(self, acme: TenantContext) -> None:
        form_class: Any = modelform_factory(Entry, fields=["title", "note", "facts"])
        with tenant_scope(acme):
            entry = Entry.objects.create(title="salt", note=SECRET, facts={"parts": 1})
            assert SECRET in form_class(instance=entry).as_p()
            form = form_class({"title": "salt", "note": "changed", "facts": '{"parts": 2}'}, instance=entry)
            form.save()
            assert (Entry.objects.get().note, Entry.objects.get().facts) == ("changed", {"parts": 2})

    @settings(max_examples=30)
    @given(
        text=st.text(st.characters(exclude_categories=["Cs"])),
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    )
    def test_any_text_and_any_json(self, pair: Pair, text: str, value: Any) -> None:
        with tenant_scope(pair.acme):
            entry = Entry(title="any", note=text, facts=value)
            meta = Entry._meta
            for name, wanted in (("note", text), ("facts", value)):
                field: Any = meta.get_field(name)
                sealed = field.pre_save(entry, add=True)
                opened = None if sealed is None else Ciphertext(bytes(sealed), field, entry.pk).opened()
                assert opened == wanted


class TestAValueOpensInItsOwnCellAlone:
    """AT-80: ciphertext of another tenant, row or column, changed or cut. The control: put back, it opens."""

    @pytest.fixture
    def rows(self, acme: TenantContext, pair: Pair) -> tuple[Entry, Entry, Entry]:
        with tenant_scope(acme):
            ours, other = (Entry.objects.create(title=title, note=SECRET, second_note="x") for title in ("a", "b"))
        with tenant_scope(pair.globex):
            theirs = Entry.objects.create(pk=ours.pk, title="a", note="globex's own")
        return ours, other, theirs

    def opens(self, context: TenantContext, row: UUID, column: str = "note") -> str:
        with tenant_scope(context):
            return str(getattr(Entry.objects.get(pk=row), column))

    def test_in_another_row(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        ours, other, _theirs = rows
        with tenant_scope(pair.acme):
            value, former = raw(pair.acme, ours.pk), raw(pair.acme, other.pk)
            put(pair.acme, other.pk, value)
        with pytest.raises(ValueTampered, match=f"vault_entry.note of row {other.pk}"):
            self.opens(pair.acme, other.pk)
        with tenant_scope(pair.acme):
            put(pair.acme, other.pk, former)
        assert self.opens(pair.acme, other.pk) == self.opens(pair.acme, ours.pk) == SECRET

    def test_in_another_column(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        ours = rows[0]
        with tenant_scope(pair.acme):
            put(pair.acme, ours.pk, raw(pair.acme, ours.pk), "second_note")
        with pytest.raises(ValueTampered, match="second_note"):
            self.opens(pair.acme, ours.pk, "second_note")
        assert self.opens(pair.acme, ours.pk) == SECRET

    def test_in_another_tenants_row_of_the_same_key(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        ours, _other, theirs = rows
        assert ours.pk == theirs.pk
        with tenant_scope(pair.acme):
            value = raw(pair.acme, ours.pk)
        with tenant_scope(pair.globex):
            former = raw(pair.globex, theirs.pk)
            put(pair.globex, theirs.pk, value)
        with pytest.raises(UnknownKey, match="never had"):
            self.opens(pair.globex, theirs.pk)
        with tenant_scope(pair.globex):
            put(pair.globex, theirs.pk, former)
        assert self.opens(pair.globex, theirs.pk) == "globex's own"

    def test_even_if_two_tenants_had_one_key(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        """The tag covers the tenant by itself: a mistake of the keyring's is not enough."""
        ours, _other, theirs = rows
        with tenant_scope(pair.acme):
            value, shared = raw(pair.acme, ours.pk), keys.of(pair.acme)
        former = keys._kept.source
        keys.register(keys.Given(pair.globex, shared))
        try:
            with tenant_scope(pair.globex), pytest.raises(ValueTampered):
                Ciphertext(value, theirs._meta.get_field("note"), theirs.pk).opened()
        finally:
            keys.register(former)

    def test_under_the_other_tenants_key_id(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        """The key id is under the tag, too: naming one's own key over another's bytes opens nothing."""
        ours, _other, theirs = rows
        with tenant_scope(pair.acme):
            value = raw(pair.acme, ours.pk)
        with tenant_scope(pair.globex):
            put(pair.globex, theirs.pk, value[:1] + keys.of(pair.globex).active.id.bytes + value[17:])
        with pytest.raises(ValueTampered):
            self.opens(pair.globex, theirs.pk)

    def test_with_any_byte_flipped_or_cut_off(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        ours = rows[0]
        with tenant_scope(pair.acme):
            value: bytes = raw(pair.acme, ours.pk)
            field: Any = Entry._meta.get_field("note")
            for at in range(len(value)):
                flipped = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
                for changed in (flipped, value[:at]):
                    with pytest.raises((ValueTampered, UnknownKey)):
                        Ciphertext(changed, field, ours.pk).opened()
            assert Ciphertext(value, field, ours.pk).opened() == SECRET

    def test_what_was_never_encrypted_is_no_value(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        with tenant_scope(pair.acme):
            put(pair.acme, rows[0].pk, b"plain text that somebody wrote past the field, long enough to be one")
        with pytest.raises(ValueTampered):
            self.opens(pair.acme, rows[0].pk)

    def test_outside_of_a_scope_nothing_opens(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        with tenant_scope(pair.acme):
            entry = Entry.objects.get(pk=rows[0].pk)
        with pytest.raises(NoTenant):
            _ = entry.note
        with tenant_scope(pair.globex), pytest.raises(UnknownKey):
            _ = entry.note
        with tenant_scope(pair.acme):
            assert entry.note == SECRET

    def test_no_error_and_no_repr_holds_the_text(self, pair: Pair, rows: tuple[Entry, Entry, Entry]) -> None:
        with tenant_scope(pair.acme):
            entry = Entry.objects.get(pk=rows[0].pk)
            shown = repr(entry.__dict__["note"])
        assert shown == "<Ciphertext of note>"
        assert SECRET not in repr(keys.of(pair.acme))


class TestWhatKnowsNoRowIsRefused:
    def test_an_update_of_many_rows(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET, second_note="x")
            for wrong in ("plain", Value("plain"), F("second_note"), F("title")):
                with pytest.raises(NotBoundToARow, match="cannot be written without its row"):
                    Entry.objects.update(note=wrong)
            assert Entry.objects.get().note == SECRET
            assert Entry.objects.update(note=None) == 1
            assert Entry.objects.get().note is None

    def test_bulk_update(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            entry = Entry.objects.create(title="salt", note=SECRET)
            entry.note, entry.title = "changed", "pepper"
            with pytest.raises(NotBoundToARow):
                Entry.objects.bulk_update([entry], ["note"])
            assert Entry.objects.bulk_update([entry], ["title"]) == 1
            assert (Entry.objects.get().note, Entry.objects.get().title) == (SECRET, "pepper")

    def test_an_expression_on_an_object(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            for wrong in (F("second_note"), Value("plain")):
                with pytest.raises(NotBoundToARow, match="expression"):
                    Entry.objects.create(title="salt", note=wrong)
            assert not Entry.objects.exists()

    def test_an_upsert_that_may_land_in_another_row(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            twin = Entry(title="salt", note="changed")
            options: dict[str, Any] = {"update_conflicts": True, "unique_fields": ["title"]}
            with pytest.raises(NotBoundToARow, match="primary key alone"):
                Entry.objects.bulk_create([twin], update_fields=["note"], **options)
            Entry.objects.bulk_create([twin], update_fields=["title"], **options)
            assert Entry.objects.get().note == SECRET

    def test_an_upsert_on_the_primary_key_is_right(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            made = Entry.objects.create(title="salt", note=SECRET)
            Entry.objects.bulk_create(
                [Entry(pk=made.pk, title="salt", note="changed")],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["note"],
            )
            assert Entry.objects.get().note == "changed"

    def test_values_hands_out_something_that_is_no_text(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            row = Entry.objects.values("id", "note").get()
            assert row["note"].opened(row["id"]) == SECRET
            with pytest.raises(NotBoundToARow, match="no text"):
                str(row["note"])
            with pytest.raises(NotBoundToARow, match="no text"):
                f"{row['note']}"
            with pytest.raises(TypeError):
                json.dumps(row["note"])
            with pytest.raises(NotBoundToARow, match="which row"):
                row["note"].opened()
            with pytest.raises(ValueTampered):
                row["note"].opened(uuid4())

    @pytest.mark.parametrize(
        "lookup",
        [
            "note",
            "note__exact",
            "note__contains",
            "note__in",
            "note__gt",
            "note__lower",
            "facts__parts",
            "facts__has_key",
        ],
    )
    def test_no_lookup_but_isnull(self, acme: TenantContext, lookup: str) -> None:
        with tenant_scope(acme), pytest.raises(NotSearchable) as refused:
            Entry.objects.filter(**{lookup: SECRET}).exists()
        assert "BlindIndexField" in refused.value.cure

    def test_a_serializer_writes_no_plaintext_out(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            Entry.objects.create(title="salt", note=SECRET)
            for form in ("json", "xml"):
                with pytest.raises(NotSerialisable):
                    serializers.serialize(form, Entry.objects.all())
                assert "salt" in serializers.serialize(form, Entry.objects.all(), fields=["title"])

    def test_a_fixture_is_not_loaded(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            fixture = [{"model": "projects.entry", "pk": str(uuid4()), "fields": {"title": "salt", "note": SECRET}}]
            (loaded,) = serializers.deserialize("json", json.dumps(fixture))
            with pytest.raises(NotBoundToARow):
                loaded.save()


class TestTheCheckE013:
    """Models that could not keep the promise are named before they run."""

    def errors(self, **fields: Any) -> list[str]:
        meta = type("Meta", (), {"app_label": "contenttypes", **fields.pop("meta", {})})
        model: Any = type("Wrong", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
        try:
            return [str(found.id) for field in model._meta.local_fields for found in field.check()]
        finally:
            model._meta.apps.all_models["contenttypes"].pop("wrong")
            model._meta.apps.clear_cache()

    def key(self, **options: Any) -> Any:
        return models.UUIDField(primary_key=True, **{"default": uuid4, **options})

    def test_a_right_model_has_no_error(self) -> None:
        assert self.errors(id=self.key(), note=EncryptedTextField()) == []

    def test_a_key_that_the_database_makes(self) -> None:
        assert self.errors(note=EncryptedTextField()) == ["tenants.E013"]

    def test_a_key_without_a_default(self) -> None:
        key = models.UUIDField(primary_key=True)
        assert self.errors(id=key, note=EncryptedTextField()) == ["tenants.E013"]

    @pytest.mark.parametrize("options", [{"unique": True}, {"db_index": True}])
    def test_an_index_of_ciphertext(self, options: Any) -> None:
        assert "tenants.E013" in self.errors(id=self.key(), note=EncryptedTextField(**options))

    def test_a_constraint_over_ciphertext(self) -> None:
        once = models.UniqueConstraint(fields=["note"], name="wrong_note_once")
        found = self.errors(id=self.key(), note=EncryptedTextField(), meta={"constraints": [once]})
        assert found == ["tenants.E013"]

    def test_a_default_that_the_database_would_make(self) -> None:
        assert "tenants.E013" in self.errors(id=self.key(), note=EncryptedTextField(db_default="plain"))


def test_a_renamed_column_is_read_by_its_former_name(acme: TenantContext) -> None:
    """The tag covers table and column: after a rename the field says what they were."""
    with tenant_scope(acme):
        made = Entry.objects.create(title="salt", note=SECRET)
        renamed: Any = EncryptedTextField(bound_as=("vault_entry", "note"))
        renamed.set_attributes_from_name("remark")
        renamed.model = Entry
        assert Ciphertext(raw(acme, made.pk), renamed, made.pk).opened() == SECRET
        assert renamed.deconstruct()[3]["bound_as"] == ("vault_entry", "note")
        renamed.bound_as = None
        with pytest.raises(ValueTampered):
            Ciphertext(raw(acme, made.pk), renamed, made.pk).opened()


class TestInAPool:
    """Two tenants in one table: what the database shares, the keys part."""

    @pytest.fixture
    def pooled(self, stack: Stack, house: None) -> Iterator[tuple[TenantContext, TenantContext]]:
        acme, globex = (fleet.onboarded(slug, Tier.POOL).context() for slug in ("acme", "globex"))
        keys.forget()
        with pooled_vaults(stack, acme):
            yield acme, globex

    def test_both_use_the_same_key_and_title_and_read_their_own(
        self, pooled: tuple[TenantContext, TenantContext]
    ) -> None:
        row = uuid4()
        for context in pooled:
            with tenant_scope(context):
                Entry.objects.create(pk=row, title="salt", note=f"{context.slug}'s own", facts={"of": context.slug})
        for context in pooled:
            with tenant_scope(context):
                entry = Entry.objects.get(pk=row)
                assert (entry.note, entry.facts) == (f"{context.slug}'s own", {"of": context.slug})
                assert Entry.objects.get(note_index=f"{context.slug}'s own") == entry

    def test_anothers_value_in_an_own_row_opens_nothing(
        self, stack: Stack, pooled: tuple[TenantContext, TenantContext]
    ) -> None:
        """Written by whoever is above every policy: the server's superuser."""
        acme, globex = pooled
        row = uuid4()
        for context in pooled:
            with tenant_scope(context):
                Entry.objects.create(pk=row, title="salt", note=f"{context.slug}'s own")
        swap = (
            f'UPDATE "{acme.schema}".vault_entry a SET note = b.note FROM "{acme.schema}".vault_entry b'
            " WHERE a.tenant_id = %s AND b.tenant_id = %s"
        )
        with psycopg.connect(stack.superuser_url, dbname=acme.database) as connection:
            connection.execute(swap.encode(), [globex.tenant_id, acme.tenant_id])
        with tenant_scope(globex), pytest.raises(UnknownKey):
            _ = Entry.objects.get().note
        with tenant_scope(acme):
            assert Entry.objects.get().note == "acme's own"

    def test_upserts_and_bringing_values_along_work_as_elsewhere(
        self, pooled: tuple[TenantContext, TenantContext]
    ) -> None:
        acme, globex = pooled
        for context in pooled:
            with tenant_scope(context):
                made = Entry.objects.create(title="salt", note="first")
                Entry.objects.bulk_create(
                    [Entry(pk=made.pk, title="salt", note="second")],
                    update_conflicts=True,
                    unique_fields=["id"],
                    update_fields=["note"],
                )
                with pytest.raises(NotBoundToARow):
                    Entry.objects.bulk_create(
                        [Entry(title="salt", note="third")],
                        update_conflicts=True,
                        unique_fields=["title"],
                        update_fields=["note"],
                    )
        lifecycle.rotate_data_key(tenant=Tenant.objects.get(slug="acme"), reason="it is time", actor=fleet.BILLING)
        for context, done in ((acme, [1]), (globex, [])):
            with tenant_scope(context):
                assert list(reencrypt()) == done
                assert named_keys() == {keys.of(context).active.id: 1}
                assert Entry.objects.get().note == "second"
