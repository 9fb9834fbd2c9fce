from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from provisioning.models import ResourceKind, Secret
from tenants.errors import StateConflict
from tenants.isolation.crypto import Tampered
from tenants.models import Plan, Tenant
from tenants.states import Tier

ROLE = ResourceKind.ROLE


@pytest.fixture
def plan(control: None) -> Plan:
    return Plan.objects.create(name="standard", tier=Tier.SCHEMA)


@pytest.fixture
def acme(plan: Plan) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")


@pytest.fixture
def globex(plan: Plan) -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex", principal="billing", plan=plan, region="local")


def kept(tenant: Tenant, value: str) -> Secret:
    return Secret.objects.once(tenant.pk, ROLE, make=lambda: value)


def test_the_first_secret_stays_whatever_is_made_after_it(acme: Tenant) -> None:
    assert [kept(acme, "first").open(), kept(acme, "second").open()] == ["first", "first"]


def test_of_eight_at_once_all_get_the_same_secret(acme: Tenant) -> None:
    def work(number: int) -> str:
        try:
            return kept(acme, f"password-{number}").open()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1


def test_a_secret_at_rest_does_not_hold_the_secret(acme: Tenant) -> None:
    secret = kept(acme, "correct horse")
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT row_to_json(s)::text, encode(sealed, 'escape') FROM provisioning_secret s")
        assert "correct horse" not in str(cursor.fetchall())
    assert "correct horse" not in f"{secret} {secret!r}"


def test_a_replaced_secret_opens_in_its_new_version(acme: Tenant) -> None:
    replaced = kept(acme, "old").replace("new")
    assert (replaced.open(), replaced.version) == ("new", 2)


def test_of_two_who_replace_it_at_once_one_is_told(acme: Tenant) -> None:
    read_by_both = kept(acme, "old")
    read_by_both.replace("mine")
    with pytest.raises(StateConflict, match="same moment"):
        read_by_both.replace("theirs")
    assert Secret.objects.get().open() == "mine"


def test_a_secret_moved_to_another_tenant_does_not_open_there(acme: Tenant, globex: Tenant) -> None:
    kept(globex, "theirs")
    moved = Secret.objects.get(tenant=globex)
    Secret.objects.filter(pk=moved.pk).update(tenant=acme)
    with pytest.raises(Tampered):
        Secret.objects.get(tenant=acme).open()
