from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from provisioning.models import Claim, DataKey
from provisioning.providers import DataKeys, data_key
from provisioning.providers.keys import KeyDestroyed, KeyUnusable
from tenants.context import TenantContext
from tenants.findings import Severity

pytestmark = pytest.mark.usefixtures("control")
KEYS = DataKeys()


def made(tenant: TenantContext, claim: Claim) -> tuple[Any, bytes]:
    KEYS.provision(tenant, KEYS.plan(tenant), claim=claim)
    return data_key(tenant, KEYS.plan(tenant))


def test_each_tenant_has_a_key_of_its_own_that_stays_the_same(
    acme: TenantContext, globex: TenantContext, claim: Claim
) -> None:
    first, again, other = made(acme, claim), made(acme, claim), made(globex, claim)
    assert first == again
    assert first[1] != other[1]
    assert len(first[1]) == 32


def test_the_key_lies_wrapped_in_the_keyring_database_and_nowhere_else(acme: TenantContext, claim: Claim) -> None:
    _key_id, key = made(acme, claim)
    stored = DataKey.objects.using("keyring").get(owner_ref=acme.tenant_id)
    assert key not in bytes(stored.wrapped or b"")
    assert "data_key" not in connections["default"].introspection.table_names()


def test_eight_at_once_make_one_key(acme: TenantContext, claim: Claim) -> None:
    def make(_number: int) -> bytes:
        try:
            return made(acme, claim)[1]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(8)))) == 1
    assert DataKey.objects.filter(owner_ref=acme.tenant_id).count() == 1


def test_a_destroyed_key_leaves_a_row_without_the_key(acme: TenantContext, claim: Claim) -> None:
    key_id, _key = made(acme, claim)
    KEYS.deprovision(acme, KEYS.plan(acme), claim=claim)
    with pytest.raises(KeyDestroyed):
        data_key(acme, KEYS.plan(acme))
    row = DataKey.objects.get(key_id=key_id)
    assert (row.state, row.wrapped) == ("destroyed", None)
    assert row.destroyed_at is not None
    assert [finding.code for finding in KEYS.verify(acme, KEYS.plan(acme))] == ["key.missing"]


def test_a_wrap_moved_to_another_tenant_does_not_open(acme: TenantContext, globex: TenantContext, claim: Claim) -> None:
    (ours, _key), (theirs, _other) = made(acme, claim), made(globex, claim)
    wrapped = DataKey.objects.get(key_id=theirs).wrapped
    DataKey.objects.filter(key_id=ours).update(wrapped=wrapped)
    with pytest.raises(KeyUnusable):
        data_key(acme, KEYS.plan(acme))
    (finding,) = KEYS.verify(acme, KEYS.plan(acme))
    assert (finding.code, finding.severity) == ("key.unusable", Severity.CRITICAL)
    assert data_key(globex, KEYS.plan(globex))[0] == theirs


def test_another_master_key_is_named_as_the_trouble(acme: TenantContext, claim: Claim, settings: Any) -> None:
    made(acme, claim)
    settings.TENURE_MASTER_KEY = bytes(range(32))
    with pytest.raises(KeyUnusable, match="another master key") as refused:
        data_key(acme, KEYS.plan(acme))
    assert "master key" in refused.value.cure


def test_the_runtime_role_cannot_delete_the_evidence_of_a_destroyed_key(acme: TenantContext, claim: Claim) -> None:
    from django.db import ProgrammingError

    made(acme, claim)
    with pytest.raises(ProgrammingError, match="permission denied"):
        DataKey.objects.all().delete()
