"""One person goes from a tenant that works on: rows, what refers to them, and what is said of them elsewhere."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from controlplane.stack.embedded import Stack
from provisioning.databases import tiers
from provisioning.databases.erasing.places import inside, places_of
from provisioning.erasure.collateral import hashes_of, refuse_difference
from provisioning.erasure.needles import NeedleTooShort, needles_of, refuse_short
from provisioning.erasure.persons import files_of
from provisioning.erasure.stores import Held, Identifier, Scope
from tenants.classification import NotAClassification, classified
from tenants.context import tenant_scope
from tenants.models import Pool
from tenants.states import Tier
from tests.pair import Pair
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made
from tests.provisioning.erasure.rows.erasing import erased, judged, named, one_of, verifier_of
from tests.provisioning.erasure.rows.test_tenants import STORE_OF
from tests.tenants.isolation.vault import Entry, vaults

pytestmark = pytest.mark.long

PERSON = {"email": "Ada@Acme.Example", "name": "Ada Lovelace"}
STORY = """
    INSERT INTO projects_member (id, name, email, joined_at)
        VALUES (101, 'Ada Lovelace', 'ada@acme.example', now()), (102, 'Bob', 'bob@acme.example', now());
    INSERT INTO projects_project (id, name, description, created_at)
        VALUES (101, 'Engine', 'Ask ADA@acme.example.', now()), (102, 'Loom', 'Ask Bob.', now());
    INSERT INTO projects_project_members (project_id, member_id) VALUES (101, 101), (101, 102), (102, 101);
    INSERT INTO projects_document (project_id, file, title, size, uploaded_at)
        VALUES (102, 'documents/cv-ada lovelace.pdf', 'CV', 1, now()), (102, 'documents/plan.pdf', 'Plan', 1, now());
"""


def told(made: Made) -> None:
    with tiers.connect(made.context) as own:
        for statement in STORY.split(";\n"):
            if statement.strip():
                own.execute(statement.encode())


def rows(made: Made, question: str) -> list[Any]:
    with tiers.connect(made.context) as own:
        return [row[0] for row in own.execute(question.encode()).fetchall()]


@pytest.mark.parametrize("tier", Tier)
def test_ada_is_gone_and_acme_works_on(tier: Tier, tenant: MakeTenant) -> None:
    acme, globex = tenant("acme", tier), tenant("globex", tier)
    for each in (acme, globex):
        told(each)
    store, scope = STORE_OF[tier], one_of(acme, **PERSON)
    planned, theirs = verifier_of(store).count(scope), hashes_of(globex.context)
    where = acme.context.schema
    assert verifier_of(store).coverage(scope).unclassified == ()
    assert list(verifier_of(store).blockers(scope)) == []
    assert named(planned) == {
        f"{where}.projects_member": 1,
        f"{where}.projects_project": 1,
        f"{where}.projects_project_members": 2,
        f"{where}.projects_document": 1,
    }
    assert files_of(scope) == ("documents/cv-ada lovelace.pdf",)
    with inside(places_of(scope.tenant_id, scope.incarnation)[0]) as connection:
        connection.execute(f"SET ROLE tenure_owner; ANALYZE {where}.projects_project".encode())
        if tier != Tier.POOL:  # a pool has views instead
            copy = f"CREATE MATERIALIZED VIEW {where}.copied AS SELECT name, email FROM {where}.projects_member"
            connection.execute(copy.encode())
            assert verifier_of(store).coverage(scope).unclassified == ()

    assert erased(scope, [store], bite=2) == 5

    assert named(verifier_of(store).count(scope)) == {}
    assert judged(store, scope).status == "clean"
    assert rows(acme, "SELECT name FROM projects_member") == ["Bob"]
    assert rows(acme, "SELECT member_id FROM projects_project_members") == [102], "Ada's mention makes it not hers"
    assert rows(acme, "SELECT description FROM projects_project ORDER BY id") == ["", "Ask Bob."]
    assert rows(acme, "SELECT title FROM projects_document") == ["Plan"]
    refuse_difference(theirs, hashes_of(globex.context), whose=globex.context.tenant_id)


def test_what_no_word_finds_is_found_by_the_search_and_its_place_is_named(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme = tenant("acme", Tier.POOL)
    told(acme)
    scope, where = one_of(acme, **PERSON), acme.context.schema
    erased(scope, ["pool_rows"])
    superuser.execute(
        f"ALTER TABLE {where}.projects_tag ADD extra jsonb, ADD raw bytea, ADD words text[];"
        f' UPDATE {where}.projects_tag SET extra = \'{{"by": ["ADA@acme.example"]}}\','
        f" words = ARRAY['x', 'Ada Lovelace'], raw = convert_to('to Ada@acme.example', 'UTF8')"
        f" WHERE name = (SELECT min(name) FROM {where}.projects_tag)"
    )
    verdict = judged("pool_rows", scope)
    assert verdict.status == "dirty"
    assert named(verdict.remaining) == {f"{where}.projects_tag.{column}": 1 for column in ("extra", "raw", "words")}
    shown = f"{verdict} {scope}".lower()
    assert "acme.example" not in shown
    assert "lovelace" not in shown


def test_a_table_without_a_word_blocks_and_a_kept_row_carries_its_ground(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection, settings: Any, tmp_path: Path
) -> None:
    acme = tenant("acme", Tier.POOL)
    told(acme)
    scope, where = one_of(acme, **PERSON), acme.context.schema
    words = tmp_path / "words.py"
    words.write_text(
        "from datetime import date\nfrom tenants.classification import *\nPERSONAL_DATA = {\n"
        "    'projects_document': Retain(\n"
        "        mentions=('file',), ground='tax law', until=date(2036, 12, 31), keeps=('file',)),\n"
        "    'projects_project_members': NoPersonalData('who is on what'),\n}\n"
    )
    settings.TENURE_PERSONAL_DATA = str(words)
    assert [(each.code, each.subject) for each in verifier_of("pool_rows").blockers(scope)] == [
        ("COLUMN_WITHOUT_WORD", "projects_document.title"),
        ("REFERS_TO_ERASED", "projects_project_members"),
    ]

    words.write_text(words.read_text().replace("NoPersonalData('who is on what')", "Delete()"))
    settings.TENURE_PERSONAL_DATA = f"{tmp_path}/./words.py"
    erased(scope, ["pool_rows"])
    (kept,) = (each for each in verifier_of("pool_rows").count(scope) if each.n)
    assert (kept.action, kept.n, kept.ground, kept.until.year if kept.until else 0) == ("retain", 1, "tax law", 2036)
    assert judged("pool_rows", scope, retained=1).status == "clean"
    assert judged("pool_rows", scope).status == "dirty"

    superuser.execute(f"CREATE TABLE {where}.by_hand (email text)")
    assert verifier_of("pool_rows").coverage(scope).unclassified[0].endswith(f"{where}.by_hand")
    words.write_text("PERSONAL_DATA = {'projects_tag': 'nothing'}")
    settings.TENURE_PERSONAL_DATA = f"{tmp_path}/././words.py"
    with pytest.raises(NotAClassification, match="projects_tag"):
        classified()


@pytest.mark.parametrize("tier", Tier)
def test_held_rows_stay_with_the_ground_of_their_hold_and_the_rest_goes(
    tier: Tier, own_pool: Pool, tenant: MakeTenant
) -> None:
    acme = tenant("acme", tier)
    told(acme)
    (place,) = (each for each in places_of(acme.context.tenant_id, acme.context.incarnation, tier) if each.active)
    store, review = STORE_OF[tier], datetime(2036, 12, 31, tzinfo=UTC)

    def holding(*tables: str) -> Scope:
        held = (Held(store, f"{place}.{table}", "tax law", review) for table in tables)
        return replace(one_of(acme, **PERSON), held=tuple(held))

    verifier = verifier_of(store)
    assert [each.code for each in verifier.blockers(holding("projects_project_members"))] == ["REFERS_TO_ERASED"]
    assert [each.code for each in verifier.blockers(holding("projects_tag"))] == ["HELD_AND_NOT_SPARED"]
    scope = holding("projects_document", "projects_member")
    assert list(verifier.blockers(scope)) == []
    assert "documents/cv-ada lovelace.pdf" not in files_of(scope)

    erased(scope, [store])
    kept = {each.locator.rpartition(".")[2]: each for each in verifier.count(scope) if each.n}
    assert {name: (each.action, each.n, each.ground) for name, each in kept.items()} == {
        "projects_document": ("retain", 1, "tax law"),
        "projects_member": ("retain", 1, "tax law"),
    }
    assert judged(store, scope, retained=2).status == "clean"
    assert rows(acme, "SELECT name FROM projects_member ORDER BY id") == ["Ada Lovelace", "Bob"]
    assert rows(acme, "SELECT project_id FROM projects_project_members") == [101]
    assert rows(acme, "SELECT description FROM projects_project WHERE id = 101") == [""]

    erased(one_of(acme, **PERSON), [store])  # released
    assert rows(acme, "SELECT name FROM projects_member") == ["Bob"]
    assert judged(store, one_of(acme, **PERSON)).status == "clean"


def test_a_sealed_value_is_found_after_it_was_opened(
    pair: Pair, stack: Stack, superuser: psycopg.Connection, settings: Any, tmp_path: Path
) -> None:
    words = tmp_path / "sealed.py"
    words.write_text(
        "from tenants.classification import *\n"
        "PERSONAL_DATA = {'vault_entry': Delete(subject={'note': 'email'}, mentions=('facts',))}\n"
    )
    settings.TENURE_PERSONAL_DATA = str(words)
    identifiers = (Identifier("email", "ada@acme.example"),)
    scope = Scope("subject", pair.acme.tenant_id, pair.acme.incarnation, uuid4(), identifiers)
    with vaults(stack, pair):
        with tenant_scope(pair.acme):
            Entry.objects.create(title="hers", note="Ada@acme.example")
            Entry.objects.create(title="of her", facts={"by": ["ada@ACME.example"]})
            Entry.objects.create(title="left over", second_note="see ada@acme.example")
            Entry.objects.create(title="his", note="bob@acme.example")
        where = pair.acme.schema
        superuser.execute(f"GRANT SELECT ON {where}.vault_entry TO tenure_verifier".encode())
        left = {f"{where}.vault_entry.second_note": 1}
        assert named(verifier_of("schema").count(scope)) == {f"{where}.vault_entry": 2, **left}
        assert erased(scope, ["schema"]) == 2
        assert named(verifier_of("schema").count(scope)) == left
        with tenant_scope(pair.acme):
            assert [entry.title for entry in Entry.objects.all()] == ["his", "left over"]


def test_an_identifier_is_looked_for_in_the_forms_it_may_have_been_written_in() -> None:
    needles = needles_of(
        [
            Identifier("email", "Ada+News@Acme.Example"),
            Identifier("phone", "0049 (30) 123-456"),
            Identifier("name", "Ada  Lovelace"),
            Identifier("name", "Ada"),
        ]
    )
    for text in ("to ADA+NEWS@acme.example", "<ada@acme.example>", "+4930123456", "tel:004930123456", "LOVELACE, Ada"):
        assert needles.are_in(text), text
    assert not needles.are_in("adapted from an adage")
    assert needles.skipped == ("name",)
    with pytest.raises(NeedleTooShort, match="name") as raised:
        refuse_short([Identifier("name", "Ada")])
    assert "Ada" not in str(raised.value)
