"""The page of one operation, and the fragment that keeps it true."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from provisioning.models import EventKind, Run, RunEvent
from tests import standing
from tests.fleet import accepted, driven

pytestmark = pytest.mark.long

SIGNED_IN = 2  # session and user, before any page is looked at


def page(client: Client, run: Run) -> str:
    answer = client.get(f"/admin/provisioning/run/{run.pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


def live_url(text: str) -> str:
    found = re.search(r'hx-get="([^"]+)"', text.split('id="live"')[1])
    assert found, "nothing asks again"
    return found[1]


def verbs(text: str) -> set[str]:
    return set(re.findall(r'id="verb-(\w+)"', text))


def test_an_operation_that_is_over_stops_asking_and_leads_to_its_tenant(ops: Client) -> None:
    run = accepted("acme")
    before = page(ops, run)
    driven(run)
    after = ops.get(live_url(before)).content.decode()
    assert 'data-state="succeeded"' in after
    assert "hx-get" not in after
    assert "hx-trigger" not in after
    assert verbs(after) == set()
    assert f'href="/admin/tenants/tenant/{run.tenant_id}/"' in after


def test_a_fragment_that_would_look_the_same_is_not_sent(ops: Client) -> None:
    run = standing.held(accepted("acme"))
    url = live_url(page(ops, run))
    with CaptureQueriesContext(connection) as queries:
        answer = ops.get(url)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(queries) == SIGNED_IN + 1


def test_a_fragment_costs_three_queries(ops: Client) -> None:
    run = standing.held(accepted("acme"))
    with CaptureQueriesContext(connection) as queries:
        assert ops.get(f"/admin/provisioning/run/{run.pk}/live/?shown=another").status_code == 200
    assert len(queries) == SIGNED_IN + 3


@pytest.mark.parametrize("change", ["note", "event", "control", "owner"])
def test_whatever_is_shown_makes_a_new_fragment(ops: Client, change: str) -> None:
    run = standing.held(accepted("acme"))
    url = live_url(page(ops, run))
    match change:
        case "note":
            run.steps.filter(name=run.step).update(note="312 of 500 objects")
        case "event":
            RunEvent.objects.create(run=run, step=run.step, direction="do", kind=EventKind.CRASHED)
        case "control":
            Run.objects.filter(pk=run.pk).update(control="pause")
        case "owner":
            Run.objects.filter(pk=run.pk).update(owner="host:2/w2")
    assert ops.get(url).status_code == 200


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("queued", {"cancel"}),
        ("running", {"pause", "cancel"}),
        ("waiting", {"pause", "cancel"}),
        ("paused", {"resume", "cancel"}),
        ("parked", {"retry", "undo", "force_complete"}),
        ("failed", set()),
        ("succeeded", set()),
    ],
)
def test_the_page_offers_what_the_state_allows(
    ops: Client, look: standing.Fleet, state: str, allowed: set[str]
) -> None:
    text = page(ops, look.runs()[state])
    assert verbs(text) == allowed
    assert ('hx-get="/admin/provisioning' in text) == (state not in {"failed", "succeeded"})


def test_who_may_only_look_sees_no_verb(viewer: Client, look: standing.Fleet) -> None:
    for run in look.runs().values():
        assert verbs(page(viewer, run)) == set()


def test_a_parked_operation_says_its_cause_and_what_to_do(ops: Client) -> None:
    text = page(ops, standing.parked(accepted("acme")))
    for words in (standing.AWAY["code"], standing.AWAY["detail"], "needs a person", "Remove the cause, then retry"):
        assert str(words) in text
    assert text.count("the same again") == 7  # of eight failures


def test_a_cause_that_no_repeat_removes_comes_with_its_own_hint(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    Run.objects.filter(pk=run.pk).update(error=standing.AWAY)
    assert str(standing.AWAY["hint"]) in page(ops, run)


def test_an_operation_past_its_deadline_says_that_it_stalls_and_who_has_it(ops: Client) -> None:
    run = standing.held(accepted("acme"))
    shown = live_url(page(ops, run))
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now() - timedelta(minutes=1))
    text = ops.get(shown).content.decode()
    assert "its deadline has passed; held by worker host:1/w1" in text


def test_an_operation_slower_than_three_times_the_usual_stalls(ops: Client) -> None:
    driven(accepted("globex"))  # how long each step usually takes
    run = standing.held(accepted("acme"))
    assert "stalled" not in page(ops, run)
    standing.long_ago(run, timedelta(minutes=4))
    text = page(ops, run)
    assert "No progress for 4 min" in text
    assert "this step usually takes" in text


def test_signed_out_meanwhile_leads_to_the_login_and_back(ops: Client) -> None:
    run = standing.held(accepted("acme"))
    url = live_url(page(ops, run))
    ops.logout()
    answer = ops.get(url)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["HX-Redirect"] == f"/admin/login/?next=/admin/provisioning/run/{run.pk}/"


def test_an_operation_that_is_gone_says_so_and_stops_asking(ops: Client) -> None:
    answer = ops.get("/admin/provisioning/run/00000000-0000-4000-8000-000000000000/live/")
    assert answer.status_code == 200
    assert "no longer exists" in answer.content.decode()
    assert "hx-get" not in answer.content.decode()


def test_the_undo_of_a_failed_operation_is_shown_in_its_own_lane(ops: Client, look: standing.Fleet) -> None:
    text = page(ops, look.failed)
    assert "Undo, in reverse order" in text
    assert "STORE_AWAY" in text


def test_the_timeline_stands_beside_a_table_that_says_the_same(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    text = page(ops, run)
    steps = text.split('id="steps"')[1].split("</table>")[0]
    assert "<caption" in steps
    assert 'aria-hidden="true"' in steps.split("tn-drawing")[1][:40]
    row = steps.split("create bucket")[1].split("</tr>")[0]
    assert "8" in re.sub(r"<[^>]+>", " ", row)
    assert row.count("tn-bar") == 15  # eight attempts, seven waits


def test_the_input_is_shown_without_anything_named_like_a_secret(ops: Client) -> None:
    run = accepted("acme")
    Run.objects.filter(pk=run.pk).update(input={"tenant_id": str(run.tenant_id), "password": "hunter2"})
    text = page(ops, run)
    assert "hunter2" not in text
    assert str(run.tenant_id) in text


def test_it_can_be_asked_of_the_api_by_one_line(ops: Client) -> None:
    run = accepted("acme")
    assert f"http://testserver/api/v1/operations/{run.public_id}" in page(ops, run)


def test_who_asked_is_named(ops: Client) -> None:
    run = accepted("acme")
    ops_user = User.objects.get(username="ops")
    Run.objects.filter(pk=run.pk).update(actor=f"user:{ops_user.pk}")
    assert "ops" in page(ops, run).split("Asked by")[1][:80]
