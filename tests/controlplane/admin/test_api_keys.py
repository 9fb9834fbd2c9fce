"""API keys: shown once, stored as a hash, revoked for good."""

import re

from django.test import Client

from controlplane.keys import key_of
from controlplane.models import ApiKey
from tenants.models import AuditEntry
from tests.controlplane.admin.test_verbs import confirm

MAKE = "/admin/controlplane/apikey/make/"
FORM = {"principal": "billing", "name": "sign-up", "scopes": ["tenants:read", "tenants:write"], "days": "30"}


def test_a_key_is_shown_once_and_works(ops: Client) -> None:
    answer = ops.post(MAKE, FORM)
    found = re.search(r"tnr_[0-9a-f]{32}_[0-9a-f]{64}", answer.content.decode())
    assert found
    assert answer["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    key = key_of(found[0])
    assert key is not None
    assert (key.principal, key.scopes) == ("billing", ["tenants:read", "tenants:write"])
    for url in (MAKE, "/admin/controlplane/apikey/", f"/admin/controlplane/apikey/{key.pk}/"):
        assert found[0].rpartition("_")[2] not in ops.get(url).content.decode()
    assert AuditEntry.objects.get(public__action="api_key.created").public["actor"].startswith("user:")


def test_a_revoked_key_stays_revoked(ops: Client) -> None:
    ops.post(MAKE, FORM)
    key = ApiKey.objects.get()
    address = f"/admin/controlplane/apikey/{key.pk}/revoke/"
    assert confirm(ops, address).status_code == 302
    key.refresh_from_db()
    first = key.revoked_at
    assert first is not None
    assert "revoked already" in ops.get(address).content.decode()
    assert "revoked" in ops.get(f"/admin/controlplane/apikey/{key.pk}/").content.decode()


def test_what_is_wrong_with_the_form_is_said(ops: Client) -> None:
    answer = ops.post(MAKE, {**FORM, "scopes": [], "days": "400"})
    assert answer.status_code == 422
    assert not ApiKey.objects.exists()
    assert "less than or equal to 365" in answer.content.decode()


def test_looking_gives_no_right_to_make_or_revoke(viewer: Client, ops: Client) -> None:
    ops.post(MAKE, FORM)
    key = ApiKey.objects.get()
    assert viewer.get(MAKE).status_code == 403
    assert viewer.post(MAKE, FORM).status_code == 403
    assert viewer.post(f"/admin/controlplane/apikey/{key.pk}/revoke/", {}).status_code == 403
    assert "Make an API key" not in viewer.get("/admin/controlplane/apikey/").content.decode()
    assert ApiKey.objects.filter(revoked_at=None).count() == 1
