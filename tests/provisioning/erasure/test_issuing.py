"""Certificates that were issued: kept as signed, superseded, withdrawn, and verified by the command."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from provisioning import lifecycle
from provisioning.erasure.certificate import public_keys, verify
from provisioning.erasure.issuing import NotCertified, issue, residue_lines, retained_lines, store_line, waived_lines
from provisioning.erasure.stores import Control, Coverage, Residue, Tally, Verdict, Waiver, judge
from provisioning.models import ErasureCertificate
from tenants.audit import Actor
from tenants.models import AuditEntry
from tests.provisioning.erasure.test_certificate import LIVE, changed

SWEEPER = Actor(kind="system", id="sweeper", name="the sweeper")
REQUEST = UUID(LIVE["request"])
Stage, State = ErasureCertificate.Stage, ErasureCertificate.State


def states() -> list[str]:
    return list(ErasureCertificate.objects.order_by("issued_at", "stage").values_list("state", flat=True))


def test_the_life_of_a_certificate(control: None, tmp_path: Path) -> None:
    live = issue(LIVE, request=REQUEST, stage=Stage.LIVE, actor=SWEEPER)
    keys = lifecycle.certificate_keys()
    assert verify(live.document.encode(), keys, lifecycle.certificate_status()).document["request"] == str(REQUEST)

    past = changed("residue.0.until", "2026-11-22T00:00:00+00:00")
    final = issue(past, request=REQUEST, stage=Stage.FINAL, actor=SWEEPER)
    valid = verify(final.document.encode(), keys, lifecycle.certificate_status())
    assert valid.document["supersedes"] == str(live.pk)
    assert ErasureCertificate.objects.get(pk=live.pk).state == State.SUPERSEDED

    file, key, status = tmp_path / "certificate.json", tmp_path / "key.pem", tmp_path / "status.json"
    file.write_text(final.document)
    key.write_bytes(keys)
    out = StringIO()
    call_command("verify_certificate", str(file), stdout=out)
    assert out.getvalue().startswith(f"VALID: final certificate {final.pk}\n")
    assert lifecycle.withdraw_certificates(REQUEST, actor=SWEEPER) == 2
    assert states() == [State.REGRESSED, State.REGRESSED]
    with pytest.raises(CommandError, match="REGRESSED"):
        call_command("verify_certificate", str(file))
    status.write_bytes(lifecycle.certificate_status())
    with pytest.raises(CommandError, match="REGRESSED"):
        call_command("verify_certificate", str(file), f"--key={key}", f"--status={status}")
    out = StringIO()
    call_command("verify_certificate", str(file), f"--key={key}", stdout=out)  # nothing of ours is asked
    assert "status not checked" in out.getvalue()
    words = [entry.public["action"] for entry in AuditEntry.objects.order_by("seq")]
    assert words == ["certificate.issued"] * 2 + ["certificate.withdrawn"] * 2

    out = StringIO()
    call_command("evidence_key", "certificate", "--rotate", stdout=out, stderr=StringIO())
    assert len(public_keys(out.getvalue().encode())) == 2
    again = issue(LIVE, request=REQUEST, stage=Stage.LIVE, actor=SWEEPER)
    assert verify(again.document.encode(), out.getvalue().encode()).document["supersedes"] is None


def test_what_is_not_proved_leaves_no_trace(control: None) -> None:
    lacking: dict[str, Any] = {"stores": []}
    for untrue in (changed("stores.0.verdict", "unknown"), lacking, changed("clock.due_at", "soon")):
        with pytest.raises(NotCertified):
            issue(untrue, request=REQUEST, stage=Stage.LIVE, actor=SWEEPER)
    with pytest.raises(NotCertified, match="outlasts"):
        issue(changed("residue.0.until", None), request=REQUEST, stage=Stage.FINAL, actor=SWEEPER)
    assert (states(), AuditEntry.objects.count()) == ([], 0)


def test_a_line_of_a_store_says_what_its_verifier_saw() -> None:
    until = datetime(2036, 12, 31, tzinfo=UTC)
    verdict: Verdict = judge(
        retained=1,
        counted=[Tally("t", 0), Tally("invoice", 1, action="retain", ground="tax law", until=until)],
        control=Control(ok=True, method="seen"),
        coverage=Coverage(covered=("t", "invoice"), waived=(Waiver("cdn", "short-lived", "W-12", until),)),
        residue=[Residue("backups", "30 days", until), Residue("logs", "no date", None)],
        evidence="sha256:5d",
    )
    line = store_line("control_rows", planned=9, deleted=7, absent=1, verdict=verdict, vantage="tenure_verifier")
    assert (line["planned"], line["retained"], line["remaining"], line["verdict"]) == (9, 1, 1, "clean")
    assert retained_lines([verdict]) == [
        {"locator": "invoice", "n": 1, "ground": "tax law", "until": "2036-12-31T00:00:00+00:00"}
    ]
    assert [each["what"] for each in residue_lines([verdict, verdict])] == ["logs", "backups"]
    assert waived_lines([verdict])[0]["reason"] == "short-lived; signed for by W-12, until 2036-12-31"
