"""From a form over a plan to an operation."""

from urllib.parse import urlencode

import pytest
from django.test import Client

from provisioning.models import Run, RunState
from tenants.models import Tenant
from tests.controlplane.admin.test_verbs import hidden
from tests.fleet import accepted, driven

FORM, PLAN = "/admin/tenants/tenant/onboard/", "/admin/tenants/tenant/onboard/plan/"
WISH = {"slug": "acme", "name": "Acme GmbH", "plan": "standard", "region": "local", "external_ref": "crm-4711"}


def plan_url(**changes: str) -> str:
    return f"{PLAN}?{urlencode({**WISH, **changes})}"


def test_a_tenant_is_onboarded_by_form_plan_and_operation(ops: Client) -> None:
    assert 'name="slug"' in ops.get(FORM).content.decode()
    page = ops.get(plan_url())
    text = page.content.decode()
    for words in ("schema t_&lt;id&gt; on local-1", "from here on it only goes forward", "Onboard acme", "Acme GmbH"):
        assert words in text
    assert not Tenant.objects.exists()
    answer = ops.post(plan_url(), hidden(page))
    run = Run.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/provisioning/run/{run.pk}/")
    assert driven(run).state == RunState.SUCCEEDED
    tenant = Tenant.objects.get()
    assert (tenant.slug, tenant.name, tenant.external_ref, tenant.principal) == (
        "acme",
        "Acme GmbH",
        "crm-4711",
        run.actor,
    )
    assert run.actor.startswith("user:")


def test_a_double_click_makes_one_tenant_and_leads_to_one_operation(ops: Client) -> None:
    form = hidden(ops.get(plan_url()))
    first, second = ops.post(plan_url(), form), ops.post(plan_url(), form)
    assert (first.status_code, second.status_code) == (302, 302)
    assert first["Location"] == second["Location"]
    assert (Tenant.objects.count(), Run.objects.count()) == (1, 1)


def test_everything_wrong_with_a_wish_is_said_at_once(ops: Client) -> None:
    page = ops.get(plan_url(slug="Bad slug!", name="", plan="gold", region="moon"))
    text = page.content.decode()
    assert page.status_code == 422
    for words in (
        "is not a usable slug",
        "This field is required",
        "gold is not one of the available",
        "moon is not one",
    ):
        assert words in text
    assert text.count('aria-invalid="true"') == 4
    assert 'value="Bad slug!"' in text


def test_what_is_in_the_way_is_shown_instead_of_a_button(ops: Client) -> None:
    accepted("acme")
    text = ops.get(plan_url()).content.decode()
    assert "In the way" in text
    assert "TENANT_EXISTS" in text
    assert 'id="confirm-button"' not in text


def test_somebody_who_was_first_is_named_by_the_refusal(ops: Client) -> None:
    form = hidden(ops.get(plan_url()))
    accepted("acme")
    answer = ops.post(plan_url(), form)
    assert answer.status_code == 409
    assert "Refused, and nothing was changed." in answer.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.parametrize("address", [FORM, plan_url()])
def test_only_operators_onboard(viewer: Client, address: str) -> None:
    assert viewer.get(address).status_code == 403
    assert viewer.post(address, {"digest": "x", "key": "y"}).status_code == 403
    assert "Onboard a tenant" not in viewer.get("/admin/tenants/tenant/").content.decode()
    assert not Tenant.objects.exists()
