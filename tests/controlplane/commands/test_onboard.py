"""200 lines of a billing export, as a billing system really writes them."""

import csv
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from controlplane.bulk_onboarding import ACTOR
from provisioning import lifecycle
from provisioning.models import Queue, Run
from tenants import audit
from tenants.models import AuditEntry, Cluster, Placement, Tenant
from tests.fleet import BILLING

GOOD = 187
BAD_SLUGS = ("o'hara", "\u0430cme-look-alike", "admin", "x" * 300, "ACME")  # a quote, a look-alike, reserved, long


def rows() -> list[dict[str, str]]:
    """187 good lines, then 13 bad ones: the first bad line is number 189, since the header is line 1."""
    plans = ("standard", "dedicated")
    good = [
        {"slug": f"tenant-{n}", "name": f"Tenant {n}", "plan": plans[n % 10 == 0], "region": "local"}
        for n in range(GOOD)
    ]
    bad = [{"slug": slug, "name": "Bad", "plan": "standard", "region": "local"} for slug in BAD_SLUGS]
    bad += [{**good[n], "name": "Again"} for n in range(3)]
    bad += [{"slug": f"golden-{n}", "name": "Golden", "plan": "gold", "region": "local"} for n in range(3)]
    bad += [{"slug": f"full-{n}", "name": "Full", "plan": "standard", "region": "full"} for n in range(2)]
    return [*good, *bad]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["slug", "name", "plan", "region"])
        writer.writeheader()
        writer.writerows(rows())
    return path


@pytest.fixture
def a_full_region(house: None) -> None:
    local = Cluster.objects.get(name="local-1")
    Cluster.objects.create(
        name="full-1", region="full", capacity=0, sealed_url=local.sealed_url, public_host="127.0.0.1"
    )


def said(*words: object) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="Not every line"):
        call_command("onboard", *map(str, words), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_plan_names_every_bad_line_and_changes_nothing(a_full_region: None, export: Path) -> None:
    out, err = said(export, "--plan")
    assert f"{GOOD} would be accepted, 0 there already, 13 bad" in out
    assert [int(number) for number in re.findall(r"^line (\d+):", err, re.MULTILINE)] == list(range(189, 202))
    assert (Tenant.objects.count(), Run.objects.count()) == (0, 0)


def test_every_good_line_is_accepted_and_every_bad_one_named_with_its_cure(a_full_region: None, export: Path) -> None:
    out, err = said(export, "--no-wait")
    assert f"{GOOD} accepted, 0 there already, 13 bad" in out
    lines = dict(re.findall(r"^line (\d+): (.*)$", err, re.MULTILINE))
    assert "Choose another slug" in lines["191"]
    assert "line 2 already" in lines["194"]
    assert "There is no plan 'gold'" in lines["197"]
    assert "full-1 is full (0 of 0)" in lines["200"]
    assert "Register another cluster" in lines["200"]
    assert Tenant.objects.count() == GOOD


def test_a_file_run_again_changes_nothing(a_full_region: None, export: Path) -> None:
    said(export, "--no-wait")
    before = list(Run.objects.order_by("pk").values_list("pk", "created_at"))
    out, _err = said(export, "--no-wait")
    assert f"0 accepted, {GOOD} there already, 13 bad" in out
    assert list(Run.objects.order_by("pk").values_list("pk", "created_at")) == before


def test_a_line_accepted_together_is_written_as_one_accepted_alone(house: None, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("slug,name,plan\nacme-1,T,pool\nacme-2,T,standard\nacme-3,T,pool\nacme-4,T,standard\n")
    call_command("onboard", str(path), "--no-wait", stdout=StringIO())
    wish = lifecycle.TenantWish(slug="alone", name="T", plan="pool", principal="billing")
    alone = lifecycle.onboard(wish=wish, actor=ACTOR, key=wish.digest)
    for run in Run.objects.exclude(pk=alone.pk):
        assert shape(run) == shape(alone)
    placed = Cluster.objects.get(name="local-1").placed
    assert (placed, Placement.objects.filter(active=True).count(), audit.verify().intact) == (5, 5, True)


def shape(run: Run) -> list[object]:
    """What was written of a run and its tenant, but for names and ids."""
    assert run.tenant is not None
    place = run.tenant.placements.get(active=True)
    audited = AuditEntry.objects.filter(chain=run.tenant.audit_chain).order_by("seq").values_list("public", flat=True)
    return [
        (run.workflow, run.version, run.queue, run.priority, run.limit_key, run.fair_key, run.step, run.actor),
        (run.lock_key == f"tenant:{run.tenant_id}", sorted(run.input), run.deadline_at is not None),
        list(run.steps.order_by("position").values_list("position", "name", "state", "skippable", "pivot")),
        list(run.events.values_list("kind", "step", "actor")),
        list(run.tenant.events.values_list("type", "sequence", "operation")),
        (run.tenant.state, run.tenant.principal, run.tenant.event_sequence, place.cluster_id),
        [(said["action"], said["outcome"], said["operation"] == str(run.pk)) for said in audited],
    ]


def test_json_lines_become_tenants_too(house: None, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    fields = {"slug": "acme", "name": "Acme", "plan": "standard", "external_ref": "crm-1", "labels": {"team": "north"}}
    path.write_text(json.dumps(fields) + "\n{broken\n[]\n" + json.dumps({"slug": "globex"}) + "\n")
    out, err = said(path, "--no-wait")
    assert "1 accepted, 0 there already, 3 bad" in out
    assert re.findall(r"^line (\d+):", err, re.MULTILINE) == ["2", "3", "4"]
    lifecycle.advance(queue=Queue.OPERATIONS)
    acme = Tenant.objects.get()
    assert (acme.slug, acme.external_ref, acme.labels, acme.state) == ("acme", "crm-1", {"team": "north"}, "active")
    assert BILLING.name == "billing"


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "lacks the columns"), ("slug,name\n", "lacks the columns plan"), ("slug,name,plan,colour\n", "colour")],
)
def test_a_file_that_is_no_export_says_what_it_lacks(control: None, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "export.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=says):
        call_command("onboard", str(path))


def test_a_missing_file_is_said_to_be_missing(control: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("onboard", str(tmp_path / "none.csv"))
