"""One tenant: where it lives, what it owns as recorded and as observed, and what was done to it."""

import re

from django.test import Client
from django.utils import timezone

from provisioning.models import ResourceKind
from tenants.models import AuditEntry, Placement, Tenant
from tests import standing
from tests.fleet import accepted, driven, onboarded
from tests.staff import signed_in, someone


def page(client: Client, tenant: Tenant) -> str:
    answer = client.get(f"/admin/tenants/tenant/{tenant.pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_says_where_the_tenant_lives_and_what_it_owns(ops: Client, look: standing.Fleet) -> None:
    text = page(ops, look.active)
    placement = Placement.objects.get(tenant=look.active, active=True)
    for words in ("acme", placement.database, placement.schema, "local-1", look.active.public_id, "acme.localhost"):
        assert words in text
    for kind in ResourceKind:
        assert f'scope="row">{kind.label}<' in text
    assert "onboard" in text
    assert "operation.succeeded" in text


def test_differences_come_first_and_unmeasured_is_never_green(ops: Client, fleet_of_states: standing.Fleet) -> None:
    acme = fleet_of_states.active
    acme.resources.filter(kind=ResourceKind.ROLE).update(verified_at=None)
    wrong = {"code": "bucket.gone", "severity": "error", "subject": "t-1", "message": "It is not there.", "hint": ""}
    acme.resources.filter(kind=ResourceKind.DOMAIN).update(findings=[wrong], verified_at=timezone.now())
    table = page(ops, acme).split('id="resources"')[1].split("</table>")[0]
    kinds = re.findall(r'<th scope="row">([^<]+)<', table)
    assert kinds[:2] == ["domain", "database role"]
    role = table.split("database role")[1].split("</tr>")[0]
    assert "not measured" in role
    assert "never looked at" in role
    assert "tn-good" not in role.split("Observed")[-1].split("not measured")[1]


def test_verify_now_looks_at_everything_and_is_in_the_audit_log(ops: Client, door: None) -> None:
    acme = onboarded("acme")
    acme.resources.update(verified_at=None)
    assert 'id="verify"' in page(ops, acme)
    done = ops.post(f"/admin/tenants/tenant/{acme.pk}/verify/", follow=True)
    assert "Every resource was looked at now" in done.content.decode()
    assert not acme.resources.filter(verified_at=None).exists()
    assert AuditEntry.objects.filter(public__action="resource.verified").count() == 1


def test_verify_is_for_operators_and_never_a_link(viewer: Client, look: standing.Fleet) -> None:
    address = f"/admin/tenants/tenant/{look.active.pk}/verify/"
    assert 'id="verify"' not in page(viewer, look.active)
    assert viewer.post(address).status_code == 403
    assert viewer.get(address).status_code == 405


def test_the_audit_part_is_for_who_may_read_the_log(look: standing.Fleet) -> None:
    known = signed_in(someone("half", "tenants.view_tenant"))
    assert 'id="audit"' not in page(known, look.active)


def test_a_failed_tenant_says_what_happened_and_offers_a_way_on(ops: Client, look: standing.Fleet) -> None:
    tenant = look.failed.tenant
    assert tenant is not None
    text = page(ops, tenant)
    assert "The onboarding was undone" in text
    assert str(standing.AWAY["code"]) in text
    assert 'id="verb-retry"' in text


def test_the_page_refreshes_itself_while_an_operation_is_at_work(ops: Client, door: None) -> None:
    run = accepted("acme")
    tenant = Tenant.objects.get(slug="acme")
    shown = re.search(r'hx-get="([^"]+)"', page(ops, tenant).split('id="live"')[1])
    assert shown
    assert ops.get(shown[1]).status_code == 204
    driven(run)
    after = ops.get(shown[1]).content.decode()
    assert "acme is active." in after
    assert "hx-get" not in after


def test_signed_out_meanwhile_leads_to_the_login(ops: Client, look: standing.Fleet) -> None:
    ops.logout()
    answer = ops.get(f"/admin/tenants/tenant/{look.active.pk}/live/?shown=x")
    assert (answer.status_code, answer["HX-Redirect"].split("?")[0]) == (204, "/admin/login/")
