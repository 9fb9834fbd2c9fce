"""Suspending, deleting and holding from a tenant's page, and from the command line."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from provisioning.lifecycle import advance
from provisioning.models import LegalHold, Queue, Run, Schedule
from tenants.models import Tenant
from tenants.states import TenantState, Tier
from tests.controlplane.admin.test_verbs import confirm
from tests.fleet import onboarded
from tests.staff import signed_in, someone


def test_a_tenant_is_suspended_deleted_and_held_from_its_page(ops: Client) -> None:
    page = f"/admin/tenants/tenant/{onboarded('acme', Tier.POOL).pk}/"
    assert {f'id="verb-{verb}"' in ops.get(page).content.decode() for verb in ("suspend", "delete", "place_hold")} == {
        True
    }
    assert confirm(ops, f"{page}suspend/", reason="unpaid").status_code == 302
    advance(queue=Queue.OPERATIONS)
    assert 'id="verb-resume"' in ops.get(page).content.decode()
    answers = {"reason": "over", "delete_reason": "unpaid"}
    wrong = confirm(ops, f"{page}delete/", **answers, typed="acne")
    assert (wrong.status_code, "That is not acme." in wrong.content.decode()) == (422, True)
    assert confirm(ops, f"{page}delete/", **answers, typed="acme").status_code == 302
    advance(queue=Queue.OPERATIONS)
    day = timezone.now().date() + timedelta(days=30)
    assert confirm(ops, f"{page}place_hold/", ground="A lawsuit", review_on=day.isoformat()).status_code == 302
    text = ops.get(page).content.decode()
    assert ("A lawsuit" in text, "not before its holds are released" in text) == (True, True)
    hold = LegalHold.objects.get()
    assert confirm(ops, f"{page}release_hold/", hold=str(hold.pk), reason="It is over.").status_code == 302
    assert confirm(ops, f"{page}undelete/", reason="They stay.").status_code == 302
    advance(queue=Queue.OPERATIONS)
    assert (Tenant.objects.get().state, LegalHold.objects.get().release_reason) == (TenantState.ACTIVE, "It is over.")
    operator = signed_in(someone("operator", "tenants.view_tenant", "tenants.operate_tenant"))
    codes = {
        verb: operator.get(f"{page}{verb}/").status_code for verb in ("suspend", "delete", "undelete", "place_hold")
    }
    assert codes == {"suspend": 200, "delete": 403, "undelete": 403, "place_hold": 403}


def test_dates_are_set_shown_and_called_off_on_the_tenants_page(ops: Client) -> None:
    page = f"/admin/tenants/tenant/{onboarded('acme', Tier.POOL).pk}/"
    suspends, deletes, calls_off = (
        f"{page}{verb}/" for verb in ("schedule_suspension", "schedule_deletion", "call_off")
    )
    why = {"reason": "Invoice 4711 is unpaid."}
    over = confirm(ops, suspends, at="2020-02-01T06:00", **why)
    assert (over.status_code, "2020-02-01 06:00 UTC is over." in over.content.decode()) == (409, True)
    assert confirm(ops, suspends, at="2099-02-01T06:00", **why).status_code == 302
    text = ops.get(page).content.decode()
    table = text.split('id="dates"')[1].split("</table>")[0]
    for words in ("suspend it", "01 Feb 2099 06:00 UTC", "Invoice 4711 is unpaid.", "<bdi>ops</bdi>"):
        assert words in table
    assert ('id="verb-schedule_suspension"' in text, 'id="verb-schedule_deletion"' in text) == (False, True)
    second = ops.get(suspends).content.decode()  # what lifecycle would answer, before anybody asks
    assert ("has a date for this: 2099-02-01 06:00 UTC" in second, 'id="confirm-button"' in second) == (True, False)
    Tenant.objects.update(deletion_protection=True)
    plan = ops.get(deletes).content.decode()
    assert "deletion protection is on: unless that is taken off before, the date comes to nothing" in plan
    asked = {"at": "2099-03-01T06:00", "delete_reason": "unpaid", "keep_days": "30", **why}
    assert confirm(ops, deletes, **asked, typed="acne").status_code == 422
    assert confirm(ops, deletes, **asked, typed="acme").status_code == 302
    first, last = Schedule.objects.order_by("at")
    assert (last.verb, last.keep_days, last.reason) == ("delete", 30, why["reason"])
    assert confirm(ops, calls_off, date=str(first.pk), reason="Paid.").status_code == 302
    first.refresh_from_db()
    assert (first.state, first.note) == ("cancelled", "Paid.")
    left = ops.get(page).content.decode().split('id="dates"')[1].split("</table>")[0]
    assert ("delete it" in left, "its data 30 days later" in left, "01 Feb 2099" in left) == (True, True, False)
    operator = signed_in(someone("operator", "tenants.view_tenant", "tenants.operate_tenant"))
    viewer = signed_in(User.objects.get(username="viewer"))
    codes = [[each.get(where).status_code for where in (suspends, deletes, calls_off)] for each in (operator, viewer)]
    assert codes == [[200, 403, 200], [403, 403, 403]]


def test_the_command_says_what_it_started_and_what_stands_in_the_way(door: None) -> None:
    onboarded("acme", Tier.POOL)
    out = StringIO()
    call_command("tenant", "suspend", "acme", "--reason", "unpaid", "--no-wait", stdout=out)
    assert out.getvalue() == f"{Run.objects.get(workflow='suspend').public_id} is accepted.\nacme is active.\n"
    advance(queue=Queue.OPERATIONS)
    with pytest.raises(CommandError, match="this needs deleted"):
        call_command("tenant", "undelete", "acme", "--reason", "no")
    with pytest.raises(CommandError, match="There is no tenant globex"):
        call_command("tenant", "suspend", "globex", "--reason", "no")
