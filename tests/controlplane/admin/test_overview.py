"""The first page: numbers that are links to what they count, and a measured checklist before the first tenant."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from provisioning import lifecycle
from provisioning.models import QueuePulse, Resource, Run, RunState
from tenants.models import Tenant
from tests import standing
from tests.fleet import BILLING

pytestmark = pytest.mark.long


def text(client: Client, url: str = "/admin/") -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_number_leads_to_a_list_of_that_many(ops: Client, look: standing.Fleet) -> None:
    page = text(ops)
    cells = re.findall(r'<a class="tn-cell" href="([^"]+)">(\d+)<', page)
    assert len(cells) > 8
    for url, number in cells:
        rows = text(ops, url.replace("&amp;", "&")).split("<tbody>")[1].split("</tbody>")[0].count("<tr>")
        assert rows == int(number), url
    assert Tenant.objects.count() == int(cells[-1][1])


def test_every_link_of_every_page_leads_somewhere(ops: Client, look: standing.Fleet) -> None:
    starts = ("/admin/", "/admin/tenants/plan/", "/admin/provisioning/release/", "/admin/tenants/auditentry/")
    rows = (f"/admin/tenants/tenant/{look.active.pk}/", f"/admin/provisioning/run/{look.parked.pk}/")
    found = {
        link.replace("&amp;", "&")
        for url in (*starts, *rows)
        for link in re.findall(r'href="(/admin/[^"#]*)', text(ops, url))
    }
    assert len(found) > 30
    for link in sorted(found):
        assert ops.get(link).status_code == 200, link


def test_what_needs_a_person_comes_with_its_cause(ops: Client, look: standing.Fleet) -> None:
    attention = text(ops).split('id="attention"')[1].split("</section>")[0]
    assert "parked-one" in attention
    assert str(standing.AWAY["code"]) in attention
    assert "paused-one" in attention
    assert "running-one" not in attention


def test_an_unchanged_overview_is_not_sent_again(ops: Client, look: standing.Fleet) -> None:
    found = re.search(r'hx-get="(/admin/live/[^"]+)"', text(ops))
    assert found
    assert ops.get(found[1]).status_code == 204
    assert ops.get("/admin/live/?shown=old").status_code == 200
    ops.logout()
    assert ops.get(found[1])["HX-Redirect"].startswith("/admin/login/")


def test_the_overview_costs_the_same_for_many_tenants(ops: Client, fleet_of_states: standing.Fleet) -> None:
    counts = []
    for _round in range(2):
        with CaptureQueriesContext(connection) as queries:
            text(ops)
        counts.append(len(queries))
        standing.tenants(20, like=fleet_of_states.active)
    assert counts[0] == counts[1]


def test_before_the_first_tenant_each_line_is_measured(ops: Client) -> None:
    page = text(ops)
    for words in ("PostgreSQL answers", "Valkey answers", "The object store answers", "A release is published"):
        line = page.split(words)[0].rsplit("<li>", 1)[1]
        assert "check_circle" in line, words
    worker = page.split("A worker claims work")[0].rsplit("<li>", 1)[1]
    assert "check_circle" not in worker
    assert "Onboard a first tenant" in page


def test_without_a_worker_every_page_says_so_and_how_to_start_one(ops: Client) -> None:
    QueuePulse.objects.update(looked_at=timezone.now() - timedelta(minutes=2))
    for url in ("/admin/", "/admin/tenants/tenant/", "/admin/provisioning/run/"):
        assert "no worker is running" in text(ops, url)
    standing.alive()
    assert "no worker is running" not in text(ops)
    QueuePulse.objects.update(looked_at=timezone.now() - timedelta(minutes=2))
    assert "no worker is running" in text(ops)


def test_who_may_see_nothing_is_told_whom_to_ask(nobody: Client, look: standing.Fleet) -> None:
    page = text(nobody)
    assert "Ask whoever runs this installation" in page
    assert "acme" not in page
    for url in ("/admin/tenants/tenant/", "/admin/provisioning/run/", "/admin/tenants/auditentry/"):
        assert nobody.get(url).status_code == 403


def test_the_root_leads_to_the_overview(ops: Client) -> None:
    assert ops.get("/")["Location"] == "/admin/"


def test_a_forced_end_stays_a_finding_until_somebody_has_looked(ops: Client, fleet_of_states: standing.Fleet) -> None:
    run = fleet_of_states.parked
    tenant = Tenant.objects.get(slug="parked-one")
    Resource.objects.create(tenant=tenant, kind="bucket", handle={"bucket": "t-1"})
    lifecycle.force_complete(run, as_state=RunState.FAILED, reason="By hand.", actor=BILLING)
    findings = text(ops).split('id="findings"')[1].split("</section>")[0]
    assert "run.forced" in findings
    Resource.objects.filter(tenant=tenant).update(verified_at=timezone.now())
    assert "run.forced" not in text(ops).split('id="findings"')[1].split("</section>")[0]


def test_operations_of_a_version_that_is_not_installed_are_a_finding(
    ops: Client, fleet_of_states: standing.Fleet
) -> None:
    Run.objects.filter(pk=fleet_of_states.queued.pk).update(version=99)
    assert "need version 99 of a workflow that is not installed" in text(ops)
