"""Plan, then confirm: who may, with what reason, how often, and what comes back when the world has moved."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from provisioning.models import Run, RunState
from tenants.models import AuditEntry, Cluster, Tenant
from tenants.states import TenantState
from tests import standing
from tests.fleet import accepted, driven, onboarded
from tests.staff import signed_in, someone

pytestmark = pytest.mark.long

VERBS = ("pause", "resume", "retry", "skip", "undo", "cancel", "force_complete")


def url(run: Run, verb: str) -> str:
    return f"/admin/provisioning/run/{run.pk}/{verb}/"


def hidden(page: Any) -> dict[str, str]:
    """The hidden fields of a plan page, as a browser would send them back."""
    text = page.content.decode()
    fields = {name: re.search(rf'name="{name}" value="([^"]*)"', text) for name in ("digest", "key")}
    return {name: found[1] for name, found in fields.items() if found}


def confirm(client: Client, address: str, **typed: str) -> Any:
    """Open the plan page, fill in the form, send it."""
    return client.post(address, {**hidden(client.get(address)), **typed})


def test_retry_needs_a_reason_and_leads_back_to_the_operation(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    refused = confirm(ops, url(run, "retry"), reason=" ")
    assert refused.status_code == 422
    assert "This field is required" in refused.content.decode()
    run.refresh_from_db()
    assert run.state == RunState.PARKED
    done = confirm(ops, url(run, "retry"), reason="The store is back.")
    assert (done.status_code, done["Location"]) == (302, f"/admin/provisioning/run/{run.pk}/")
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    assert "The store is back." in run.events.latest("id").detail


def test_undo_wants_the_slug_typed_when_something_is_removed(ops: Client) -> None:
    run = accepted("acme")
    tenant = Tenant.objects.get(slug="acme")
    tenant.resources.create(kind="bucket", handle={"bucket": "t-1"}, state="ready")
    tenant.resources.create(kind="domain", handle={"domain": "acme.localhost"})  # planned: nothing to remove
    standing.parked(run)
    page = ops.get(url(run, "undo"))
    assert "bucket of acme" in page.content.decode()
    assert "domain of acme" not in page.content.decode()
    wrong = confirm(ops, url(run, "undo"), reason="Not needed.", typed="acne")
    assert wrong.status_code == 422
    assert "That is not acme." in wrong.content.decode()
    assert confirm(ops, url(run, "undo"), reason="Not needed.", typed=" acme ").status_code == 302


def test_a_parked_onboarding_is_undone_and_onboarded_again(ops: Client) -> None:
    run = standing.parked(accepted("acme"), "reserve placement")
    confirm(ops, url(run, "undo"), reason="The region was wrong.", typed="acme")
    assert driven(run).state == RunState.FAILED
    tenant = Tenant.objects.get(slug="acme")
    assert tenant.state == TenantState.FAILED
    again = confirm(ops, f"/admin/tenants/tenant/{tenant.pk}/retry/", reason="It is right now.")
    assert again.status_code == 302
    second = Run.objects.filter(tenant=tenant).latest("created_at")
    assert again["Location"].endswith(f"{second.pk}/")
    assert driven(second).state == RunState.SUCCEEDED


def test_pause_and_resume_need_no_reason(ops: Client) -> None:
    run = standing.waits(accepted("acme"))
    assert confirm(ops, url(run, "pause")).status_code == 302
    run.refresh_from_db()
    assert run.state == RunState.PAUSED
    assert confirm(ops, url(run, "resume")).status_code == 302
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


def test_the_end_is_forced_with_a_reason_and_said_to_be_forced(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    done = confirm(ops, url(run, "force_complete"), as_state="failed", reason="Removed by hand.")
    assert done.status_code == 302
    run.refresh_from_db()
    assert (run.state, run.forced, run.reason) == (RunState.FAILED, True, "Removed by hand.")
    assert "by a person" in ops.get(done["Location"]).content.decode()


def test_cancel_ends_a_queued_operation(ops: Client) -> None:
    run = accepted("acme")
    assert confirm(ops, url(run, "cancel"), reason="Asked for twice.").status_code == 302
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED


@pytest.mark.parametrize("verb", VERBS)
def test_who_may_only_look_is_refused_by_the_server_too(viewer: Client, verb: str) -> None:
    run = standing.parked(accepted("acme"))
    before = Run.objects.values().get(pk=run.pk)
    form = {"digest": "sha256:", "key": str(uuid4()), "reason": "I insist.", "typed": "acme", "as_state": "failed"}
    assert viewer.get(url(run, verb)).status_code == 403
    assert viewer.post(url(run, verb), form).status_code == 403
    assert Run.objects.values().get(pk=run.pk) == before


def test_operating_without_looking_is_refused(door: None) -> None:
    run = standing.parked(accepted("acme"))
    blind = signed_in(someone("blind", "tenants.operate_tenant"))
    assert blind.get(url(run, "retry")).status_code == 403


def test_a_stranger_is_led_to_the_login(client: Client, door: None) -> None:
    run = accepted("acme")
    answer = client.post(url(run, "cancel"), {"reason": "Ha."})
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")
    run.refresh_from_db()
    assert run.state == RunState.QUEUED


def test_a_form_without_the_token_is_refused(door: None) -> None:
    run = standing.parked(accepted("acme"))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="ops"))
    assert strict.post(url(run, "retry"), {"reason": "x"}).status_code == 403


def test_a_verb_that_is_not_possible_now_shows_why_and_no_button(ops: Client) -> None:
    run = standing.held(accepted("acme"))
    page = ops.get(url(run, "retry"))
    assert page.status_code == 200
    assert "retry is not possible now" in page.content.decode()
    assert 'id="confirm-button"' not in page.content.decode()
    form = {**hidden(page), "reason": "Anyway.", "digest": "sha256:none"}
    assert ops.post(url(run, "retry"), form).status_code == 409


def test_a_plan_that_changed_meanwhile_comes_back_with_the_difference(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    page = ops.get(url(run, "retry"))
    shown = re.search(r'name="shown" value="([^"]*)"', page.content.decode())
    assert shown
    form = {**hidden(page), "shown": shown[1].replace("&quot;", '"').replace("&#x27;", "'"), "reason": "Go on."}
    standing.parked(run, "create role")
    answer = ops.post(url(run, "retry"), form)
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "The plan changed while you read it" in text
    assert "<ins>try again &#x27;create role&#x27;</ins>" in text
    assert "<del>try again &#x27;create bucket&#x27;</del>" in text
    assert "Go on." in text  # what was typed is kept
    run.refresh_from_db()
    assert run.state == RunState.PARKED


def test_two_people_at_once_start_it_once(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    form = {**hidden(ops.get(url(run, "retry"))), "reason": "Mine."}
    assert ops.post(url(run, "retry"), form).status_code == 302
    assert ops.post(url(run, "retry"), form).status_code == 409
    assert run.events.filter(kind="retried").count() == 1


def test_rotating_credentials_twice_with_one_form_is_one_operation(ops: Client) -> None:
    acme = onboarded("acme")
    address = f"/admin/tenants/tenant/{acme.pk}/rotate_credentials/"
    form = {**hidden(ops.get(address)), "reason": "A laptop was lost."}
    first, second = ops.post(address, form), ops.post(address, form)
    assert (first.status_code, second.status_code) == (302, 302)
    assert first["Location"] == second["Location"]
    assert Run.objects.filter(tenant=acme).count() == 2  # the onboarding, and this


def test_credentials_are_rotated_by_those_who_may_hand_them_out(door: None) -> None:
    acme = onboarded("acme")
    operator = signed_in(someone("operator", "tenants.view_tenant", "tenants.operate_tenant"))
    assert operator.get(f"/admin/tenants/tenant/{acme.pk}/rotate_credentials/").status_code == 403
    assert 'id="verb-rotate_credentials"' not in operator.get(f"/admin/tenants/tenant/{acme.pk}/").content.decode()


def test_a_cluster_is_drained_and_opened_again(ops: Client) -> None:
    local = Cluster.objects.get(name="local-1")
    for verb, state in (("drain", "draining"), ("close", "closed"), ("open", "open")):
        done = confirm(ops, f"/admin/tenants/cluster/{local.pk}/{verb}/")
        assert done.status_code == 302
        local.refresh_from_db()
        assert local.state == state
    assert AuditEntry.objects.filter(public__action="cluster.changed").count() == 3


def test_every_act_is_in_the_audit_log_under_the_person(ops: Client) -> None:
    run = standing.parked(accepted("acme"))
    confirm(ops, url(run, "retry"), reason="Again.")
    last = AuditEntry.objects.get(public__action="operation.retried").public
    assert last["actor"].startswith("user:")
    assert last["operation"] == str(run.pk)


def test_in_production_the_plan_page_says_so(ops: Client, settings: Any) -> None:
    run = standing.parked(accepted("acme"))
    assert "This is <strong>production</strong>" not in ops.get(url(run, "undo")).content.decode()
    settings.ENVIRONMENT = "production"
    assert "This is <strong>production</strong>" in ops.get(url(run, "undo")).content.decode()


def test_a_refusal_leads_back_to_what_one_may_see(viewer: Client) -> None:
    page = viewer.get("/admin/tenants/tenant/onboard/")
    assert page.status_code == 403
    assert 'href="/admin/"' in page.content.decode()
    gone = viewer.get("/admin/nowhere/")
    assert gone.status_code == 404
    assert 'href="/admin/"' in gone.content.decode()
