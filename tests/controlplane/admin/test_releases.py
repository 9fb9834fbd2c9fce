"""The page of a release says whether it is for pools, and if not, why and what to write instead."""

from django.test import Client

from provisioning.models import Release

REFUSAL = {"statement": "TRUNCATE t & u", "reason": "It empties every tenant's table.", "instead": "Write DELETE FROM."}


def page(client: Client) -> str:
    return client.get(f"/admin/provisioning/release/{Release.objects.get().pk}/").content.decode()


def test_a_release_for_pools_says_so(ops: Client) -> None:
    text = page(ops)
    assert "Its tenants may share tables" in text
    assert "Why it is not for pools" not in text


def test_each_refusal_is_shown_with_its_reason_and_cure(ops: Client) -> None:
    Release.objects.update(pool_refusals=[REFUSAL, {**REFUSAL, "statement": "", "reason": "Shapes differ."}])
    text = page(ops)
    assert "Not for pools, for 2 reasons" in text
    for said in ("It empties every tenant&#x27;s table.", "Write DELETE FROM.", "TRUNCATE t &amp; u", "Shapes differ."):
        assert said in text
