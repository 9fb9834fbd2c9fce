"""Rows are not edited, added or deleted here, one by one or in bulk."""

from typing import Any

import pytest
from django.contrib.admin import helpers
from django.test import Client, RequestFactory

from controlplane.admin.base import ReadOnlyAdmin, ReadOnlyRows
from controlplane.admin.site import NOUNS, site
from tenants.models import Tenant
from tests import standing

ADMINS = [site.of(noun.model) for noun in NOUNS]


@pytest.mark.parametrize("admin", ADMINS, ids=[noun.title for noun in NOUNS])
def test_no_noun_can_be_added_changed_or_deleted(admin: ReadOnlyAdmin, rf: RequestFactory) -> None:
    request: Any = rf.get("/")
    assert not admin.has_add_permission(request)
    assert not admin.has_change_permission(request)
    assert not admin.has_delete_permission(request)
    for act in (admin.save_model, admin.delete_model, admin.delete_queryset):
        with pytest.raises(ReadOnlyRows, match="not edited"):
            act(request, None)


@pytest.mark.parametrize("page", ["add/", "{pk}/change/", "{pk}/delete/", "{pk}/history/"])
def test_the_pages_that_would_edit_do_not_exist(ops: Client, look: standing.Fleet, page: str) -> None:
    """Deleting a tenant is a verb, with a page of its own that keeps the row."""
    assert ops.get(f"/admin/provisioning/run/{page.format(pk=look.succeeded.pk)}").status_code == 404


def test_a_bulk_delete_posted_by_hand_deletes_nothing(ops: Client, look: standing.Fleet) -> None:
    before = Tenant.objects.count()
    form = {"action": "delete_selected", helpers.ACTION_CHECKBOX_NAME: [str(look.active.pk)], "post": "yes"}
    assert ops.post("/admin/tenants/tenant/", form).status_code in {200, 302, 403}
    assert Tenant.objects.count() == before


def test_packages_have_no_page_of_their_own(ops: Client) -> None:
    assert ops.get("/admin/tenants/")["Location"] == "/admin/"
