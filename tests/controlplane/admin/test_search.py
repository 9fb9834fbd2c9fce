"""The palette: what exists now, and nothing that was kept."""

from django.core.cache import cache
from django.test import Client

from tests import standing


def found(client: Client, term: str) -> str:
    return client.get("/admin/search/", {"s": term}).content.decode()


def test_tenants_are_found_by_prefix_and_id_and_operations_by_id(ops: Client, look: standing.Fleet) -> None:
    tenant, run = f"/admin/tenants/tenant/{look.active.pk}/", f"/admin/provisioning/run/{look.parked.pk}/"
    assert tenant in found(ops, "acm")
    assert tenant in found(ops, look.active.public_id)
    assert run in found(ops, look.parked.public_id)
    assert tenant not in found(ops, "cme")
    assert "/admin/tenants/cluster/" in found(ops, "clust")


def test_results_are_kept_nowhere(ops: Client, fleet_of_states: standing.Fleet) -> None:
    cache.clear()
    assert "acme" in found(ops, "acm")
    fleet_of_states.active.__class__.objects.filter(pk=fleet_of_states.active.pk).update(slug="erased-1")
    assert ">acme<" not in found(ops, "acm")
    assert ops.get("/admin/search/", {"s": "acm"})["Cache-Control"].startswith("no-store")


def test_nothing_is_found_for_who_may_not_look(nobody: Client, look: standing.Fleet) -> None:
    assert "/admin/tenants/" not in found(nobody, "acme")
