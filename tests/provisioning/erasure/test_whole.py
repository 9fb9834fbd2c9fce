"""Whole tenants, erased by all the stores there are, and looked for by other means than the verifiers'."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.stack.embedded import Stack
from provisioning.erasure.certificate import verify
from provisioning.erasure.issuing import public_key, status_list
from provisioning.models import ErasureCertificate
from tenants import audit
from tenants.states import Tier
from tests.provisioning.erasure.whole import (
    KEPT_ID,
    NOT_COVERED,
    approved,
    filled,
    found_of,
    ids_of,
    life_of,
    settled,
    stored,
)


@pytest.fixture(autouse=True)
def no_soak(house: None, settings: Any) -> None:
    settings.TENURE_ERASURE_SOAK_S = 0


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tier", Tier)
def test_a_tenant_is_gone_and_its_neighbour_is_as_before(stack: Stack, tier: Tier) -> None:
    slug = f"acme-{tier}-gmbh"
    acme, globex = filled(slug, tier), filled("globex", tier)
    words = (slug, *ids_of(acme.pk))
    assert {word for _place, word in found_of(stack, words)} >= {slug, acme.pk.hex}  # whoever looks can see
    before = life_of(globex.context(), globex)
    small = stored(acme)
    request = settled(small, approved(small))

    kept = ErasureCertificate.objects.get(request=request.pk)
    document = verify(kept.document.encode(), public_key(), status_list()).document
    lines = {line["store"]: line for line in document["stores"]}
    rows = {Tier.POOL: "pool_rows", Tier.SCHEMA: "schema", Tier.DATABASE: "database"}[tier]
    for store in (rows, "bucket", "cache", "queues", "keys", "control_rows", "audit_payload", "roles"):
        assert lines[store]["planned"] > 0, store
        assert lines[store]["verdict"] == "clean"
    for store in ("bucket", "cache"):
        assert lines[store]["control"].endswith("; its sentinel, seen before, is gone")
    assert (document["retained"], document["needles"]["hits"]) == ([], 0)
    assert audit.verify(acme.audit_chain).intact

    found = found_of(stack, words)
    assert {place for place, word in found if word == slug} <= NOT_COVERED
    assert {place for place, word in found if word != slug} <= KEPT_ID | NOT_COVERED
    assert "the store's access logs and disks" in {each["what"] for each in document["not_covered"]}
    assert life_of(globex.context(), globex) == before
