"""One person, over eight tables, JSON, an encrypted field, a file's name and a file, goes; the tenant works on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command

from controlplane.stack.embedded import Stack
from examples.projects.models import Document, Member, Project
from provisioning.erasure.certificate import verify
from provisioning.erasure.issuing import public_key
from provisioning.erasure.stores import Identifier
from provisioning.models import ErasureCertificate
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.states import TenantState, Tier
from tests.pair import Pair
from tests.provisioning.erasure.test_whole_restored import forget_in_the_cluster, missing, url_of_cluster
from tests.provisioning.erasure.whole import approved, filled, found_of, in_buckets, life_of, settled, stored
from tests.tenants.isolation.vault import Entry, vaults

pytestmark = pytest.mark.drawn(1, among="whole erasures")

ADA = (Identifier("email", "Ada@Analysts.example"), Identifier("name", "Ada Lovelace"))
WORDS = ("ada@analysts.example", "ada lovelace")
BESIDE = """
    CREATE TABLE {s}.support_ticket (id int PRIMARY KEY, email text, body text);
    CREATE TABLE {s}.support_reply (id int PRIMARY KEY, ticket_id int REFERENCES {s}.support_ticket, body text);
    CREATE TABLE {s}.billing_invoice (id int PRIMARY KEY, email text, cents int);
    INSERT INTO {s}.support_ticket VALUES (1, 'ADA@analysts.example', 'It broke.'), (2, 'bob@b.example', 'Mine did.');
    INSERT INTO {s}.support_reply VALUES (1, 1, 'We look.'), (2, 2, 'So do we.');
    INSERT INTO {s}.billing_invoice VALUES (1, 'ada@analysts.example', 100), (2, 'bob@b.example', 200);
    ALTER TABLE {s}.support_ticket OWNER TO tenure_owner; ALTER TABLE {s}.support_reply OWNER TO tenure_owner;
    ALTER TABLE {s}.billing_invoice OWNER TO tenure_owner;
    GRANT ALL ON ALL TABLES IN SCHEMA {s} TO {s}; GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO tenure_verifier;
"""
CLASSIFIED = """
from datetime import date
from tenants.classification import *
PERSONAL_DATA = {
    'support_ticket': Delete(subject={'email': 'email'}, mentions=('body',)),
    'support_reply': Delete(),
    'billing_invoice': Retain(subject={'email': 'email'}, ground='tax law', until=date(2036, 12, 31), keeps=('email',)),
    'vault_entry': Delete(subject={'note': 'email'}, mentions=('facts', 'title')),
}
"""


@pytest.fixture(autouse=True)
def no_soak(house: None, settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.TENURE_ERASURE_SOAK_S = 0
    words = tmp_path / "words.py"
    words.write_text(CLASSIFIED)
    settings.TENURE_PERSONAL_DATA = str(words)
    forget_in_the_cluster()
    yield
    forget_in_the_cluster()


def test_ada_is_found_wherever_she_is_and_comes_back_for_a_moment_only(stack: Stack) -> None:
    acme, globex = filled("acme-ada-gmbh", Tier.SCHEMA), filled("globex", Tier.SCHEMA)
    with vaults(stack, Pair(acme.context(), globex.context(), "")):
        told(stack, acme)
        with psycopg.connect(url_of_cluster(stack), autocommit=True) as session:
            session.execute(f"GRANT SELECT ON {globex.context().schema}.vault_entry TO tenure_verifier".encode())
        files = set(in_buckets(("lovelace", "scan-0001"))), life_of(globex.context(), globex)
        assert {word for _place, word in files[0]} == {"lovelace", "scan-0001"}
        small = stored(acme)
        request = settled(small, approved(small, small.asked("subject", identifiers=ADA)))

        kept = ErasureCertificate.objects.get(request=request.pk)
        document = verify(kept.document.encode(), public_key()).document
        (line,) = (line for line in document["stores"] if line["store"] == "schema")
        assert (line["planned"], line["deleted"], line["retained"]) == (10, 9, 1)
        (retained,) = document["retained"]
        assert (retained["n"], retained["ground"], retained["until"][:10]) == (1, "tax law", "2036-12-31")
        invoice = f"{acme.context().schema}.billing_invoice"
        assert {place for place, _word in found_of(stack, WORDS)} == {invoice}
        assert in_buckets(("lovelace", "scan-0001")) == set()
        assert life_of(globex.context(), globex) == files[1]
        works_on(acme)

        with tenant_scope(acme.context()):  # as a backup would bring her back, with a database that knows of no ledger
            Member.objects.create(name="Ada Lovelace", email="ada@analysts.example")
        forget_in_the_cluster()
        assert str(request.pk) in missing()
        call_command("replay_erasures", verbosity=0)
        assert missing() == ""
        assert {place for place, _word in found_of(stack, WORDS)} == {invoice}
        works_on(acme)


def told(stack: Stack, acme: Tenant) -> None:
    """Eight tables, the first four the example application's."""
    schema = acme.context().schema
    with psycopg.connect(url_of_cluster(stack), autocommit=True) as session:
        session.execute(BESIDE.format(s=schema).encode())
    with tenant_scope(acme.context()):
        ada = Member.objects.create(name="Ada Lovelace", email="ada@analysts.example")
        project = Project.objects.create(name="Engine", description="Ask ADA@analysts.example.")
        project.members.add(ada)
        for title, name in (("Ada Lovelace's papers", "scan-0001.pdf"), ("CV", "ada lovelace.pdf")):
            paper = Document.objects.create(project=project, title=title, size=3)
            paper.file.name = f"documents/{name}"
            paper.file.storage.save(paper.file.name, ContentFile(b"pdf"))
            paper.save()
        Entry.objects.create(title="hers", note="Ada@analysts.example")
        Entry.objects.create(title="of her", facts={"by": ["ada@ANALYSTS.example"]})
        Entry.objects.create(title="his", note="bob@b.example")


def works_on(acme: Tenant) -> None:
    acme.refresh_from_db()
    assert acme.state == TenantState.ACTIVE
    with tenant_scope(acme.context()):
        assert [entry.title for entry in Entry.objects.all()] == ["his"]
        assert Project.objects.get(name="Engine").description == ""
        Member.objects.create(name="Carl", email="carl@c.example").delete()
