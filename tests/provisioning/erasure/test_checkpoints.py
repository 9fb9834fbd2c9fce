"""A chain that somebody rewrote with new hashes verifies by itself, and does not agree with what was signed before."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from controlplane.stack.embedded import Stack
from provisioning.erasure import checkpoints, keeping
from provisioning.models import EvidenceKey
from provisioning.providers import evidence_keys
from provisioning.providers.s3 import s3_client
from tenants import audit
from tenants.audit import GENESIS, PLATFORM_CHAIN, Actor, entry_hash
from tenants.audit.checkpoints import CHECKPOINTS, Checkpoint, after, newest
from tenants.models import AuditEntry

SETUP = Actor(kind="system", id="setup", name="setup")
Sql = Callable[..., Any]


@pytest.fixture
def intruder(stack: Stack, control: None) -> Iterator[Sql]:
    """Runs SQL as the superuser, with the guarding triggers switched off."""
    with psycopg.connect(stack.superuser_url, dbname="tenure", autocommit=True) as connection:
        for table in ("audit_entry", "audit_chain", "audit_checkpoint"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        yield connection.execute


def happened(times: int) -> None:
    for _time in range(times):
        with transaction.atomic():
            audit.write("plan.changed", actor=SETUP, object=("plan", uuid4()))


def signed() -> Checkpoint:
    made = checkpoints.keep(at_once=True)
    assert made is not None
    return made


def found(outside: tuple[Checkpoint, ...] = ()) -> list[tuple[str, int, str]]:
    names = {PLATFORM_CHAIN: "platform", CHECKPOINTS: "checkpoints"}
    return [(names[place.chain], place.seq, place.what) for place in audit.verify(outside=outside).places]


def rewrite(intruder: Sql, *, upto: int) -> None:
    """The chain anew up to a number, without the last word of what happened, and with good hashes."""
    prev = GENESIS
    for entry in AuditEntry.objects.filter(chain=PLATFORM_CHAIN).order_by("seq"):
        if entry.seq > upto:
            break
        body = entry.body.replace('"done"', '"refused"')
        made = entry_hash(PLATFORM_CHAIN, entry.seq, prev, body)
        intruder("UPDATE audit_entry SET body = %s, prev = %s, hash = %s WHERE seq = %s", (body, prev, made, entry.seq))
        prev = made
    intruder("DELETE FROM audit_entry WHERE seq > %s", (upto,))
    intruder("UPDATE audit_chain SET size = %s, head = %s", (upto, prev))


def test_a_checkpoint_is_made_when_it_is_time_and_lists_what_has_grown(control: None) -> None:
    happened(3)
    first = checkpoints.keep()
    assert first is not None
    assert first.content["heads"] == [[str(PLATFORM_CHAIN), 3, bytes(AuditEntry.objects.get(seq=3).hash).hex()]]
    assert checkpoints.keep() is None  # not yet
    second = signed()
    assert (second.n, second.content["heads"], second.content["prev"]) == (2, [], first.hash)
    happened(1)
    assert [size for _chain, size, _head in signed().content["heads"]] == [4]
    report = audit.verify()
    assert (report.status, report.checkpoints) == ("clean", 3)


def test_a_rewritten_chain_is_forked_and_a_cut_one_truncated(intruder: Sql) -> None:
    happened(4)
    signed()
    rewrite(intruder, upto=4)
    assert found() == [("platform", 4, "forked")]
    rewrite(intruder, upto=3)
    assert found() == [("platform", 4, "truncated")]
    intruder("DELETE FROM audit_entry; DELETE FROM audit_sealed; DELETE FROM audit_chain")
    assert found() == [("platform", 4, "truncated")]


def test_checkpoints_are_a_chain_of_their_own(intruder: Sql) -> None:
    happened(1)
    for _time in range(3):
        signed()
    kept = after(0)
    intruder("UPDATE audit_checkpoint SET signature = set_byte(signature, 0, get_byte(signature, 0) # 1) WHERE n = 2")
    assert found() == [("checkpoints", 2, "signature")]
    intruder("DELETE FROM audit_checkpoint WHERE n = 2")
    assert found() == [("checkpoints", 3, "number"), ("checkpoints", 3, "link")]
    intruder("DELETE FROM audit_checkpoint WHERE n = 3")
    assert found() == []  # a tail cut off in here shows only against what is kept outside
    assert found(outside=(kept[-1],)) == [("checkpoints", 3, "truncated")]


def test_a_key_that_the_intruder_brought_is_not_believed(intruder: Sql) -> None:
    """He can write to every table, and has no master key."""
    happened(1)
    signed()
    private = Ed25519PrivateKey.generate()
    kid = evidence_keys.kid_of(private.public_key())
    last = newest()
    assert last is not None
    body = last.body.replace(last.content["key"], kid)
    forged = private.sign(b"tenure/audit/1/checkpoint\x00" + body.encode())
    sealed = bytes(EvidenceKey.objects.get().sealed)
    EvidenceKey.objects.update(retired_at=timezone.now())
    EvidenceKey.objects.create(kid=kid, use="checkpoint", public=private.public_key().public_bytes_raw(), sealed=sealed)
    intruder("UPDATE audit_checkpoint SET body = %s, signature = %s", (body, forged))
    assert found() == [("checkpoints", 1, "signature")]


def test_a_log_that_nobody_has_sealed_for_half_an_hour_is_not_clean(
    control: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened(1)
    assert audit.verify().intact  # the log is younger than that
    later = timezone.now() + timedelta(minutes=31)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: later)
        assert (found(), audit.verify().status) == ([("checkpoints", 0, "unsealed")], "unknown")
        assert checkpoints.keep() is not None
        assert found() == []


def test_what_lies_outside_shows_a_database_that_was_taken_back(
    intruder: Sql, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole story at one store: signed, copied, kept against its own administrator, and compared."""
    happened(2)
    keeping._Last.copied = keeping._Last.looked = float("-inf")
    keeping._Last.said = False
    keeping.keep_evidence()
    assert caplog.text == ""  # nothing to complain of: this store is write-once
    signed()
    assert (checkpoints.copy_outside(), checkpoints.copy_outside()) == (1, 0)
    store = checkpoints.bucket()
    assert store is not None
    kept = s3_client().list_object_versions(Bucket=store.bucket, Prefix="checkpoints/")["Versions"]
    with pytest.raises(s3_client().exceptions.ClientError, match="AccessDenied"):
        s3_client().delete_object(Bucket=store.bucket, Key=kept[0]["Key"], VersionId=kept[0]["VersionId"])
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert "checkpoints: 2, the newest outside is number 2" in out.getvalue()

    intruder("DELETE FROM audit_checkpoint WHERE n = 2")
    happened(1)
    signed()  # another number 2
    assert checkpoints.copy_outside() == 0  # what lies there is not written again
    err = StringIO()
    with pytest.raises(CommandError, match="1 places are wrong"):
        call_command("verify_audit", stderr=err)
    assert err.getvalue() == f"forked: chain {CHECKPOINTS}, entry 2: a signed checkpoint knows another\n"

    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    out, err = StringIO(), StringIO()
    call_command("verify_audit", stdout=out, stderr=err)
    assert "The checkpoints outside were not looked at" in err.getvalue()
