"""Tenants of a pool at the API's doors, and what somebody who was handed one's credentials can do with them."""

from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from controlplane.stack.embedded import Stack
from tenants.context import TenantContext
from tenants.isolation.tickets import ContextKey, Ticket, mint
from tenants.models import Pool
from tenants.states import Tier
from tests import databases
from tests.controlplane.api.conftest import caller
from tests.fleet import onboarded

ENTER = "SELECT tenure_guard.enter(%s, %s, %s, %s, %s, %s)"
TAGS = "SELECT name FROM projects_tag ORDER BY id"


@pytest.fixture(scope="module")
def pooled(stack: Stack, furnished: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """acme and globex in one pool: what the door hands out for each, and their contexts."""
    with django_db_blocker.unblock():
        for _each in databases.fresh(stack, "furnished"):
            door = caller()
            tenants = {slug: onboarded(slug, Tier.POOL) for slug in ("acme", "globex")}
            given = {slug: door.post(f"tenants/{each.public_id}/credentials") for slug, each in tenants.items()}
            assert {answer.status_code for answer in given.values()} == {200}
            yield {
                "door": door,
                "ids": {slug: each.public_id for slug, each in tenants.items()},
                "contexts": {slug: each.context() for slug, each in tenants.items()},
                **{slug: answer.json() for slug, answer in given.items()},
            }


def session(given: Any) -> psycopg.Connection:
    return psycopg.connect(given["database"]["url"])


def ticket(given: Any, context: TenantContext) -> Ticket:
    """As an application mints one, with the key it was handed."""
    return mint(context, ContextKey.from_json(given["database"]["context_key"]))


def test_the_door_hands_out_the_shared_role_a_key_and_a_prefix(pooled: Any) -> None:
    acme, globex = pooled["acme"], pooled["globex"]
    pool = Pool.objects.get()
    for given, slug in ((acme, "acme"), (globex, "globex")):
        assert given["database"]["user"] == f"p_{pool.pk.hex}"
        assert given["database"]["schema"] == "pool_1"
        assert given["storage"]["bucket"] == f"p-{pool.pk.hex}"
        assert given["storage"]["prefix"] == f"{pooled['contexts'][slug].key}/"
    assert acme["database"]["password"] == globex["database"]["password"]
    assert acme["database"]["context_key"] != globex["database"]["context_key"]


def test_acmes_credentials_open_acmes_rows(pooled: Any) -> None:
    """The control of everything below."""
    with session(pooled["acme"]) as acme:
        acme.execute(ENTER, ticket(pooled["acme"], pooled["contexts"]["acme"]))
        assert len(acme.execute(TAGS).fetchall()) == 4
        acme.execute("INSERT INTO projects_tag (name) VALUES ('acme''s own')")
        assert len(acme.execute(TAGS).fetchall()) == 5


def test_without_a_ticket_nobody_sees_a_row(pooled: Any) -> None:
    with session(pooled["acme"]) as acme, pytest.raises(psycopg.errors.InsufficientPrivilege, match="no context"):
        acme.execute(TAGS)


def test_acmes_key_signs_no_ticket_of_globex(pooled: Any) -> None:
    acme, globex = pooled["acme"], pooled["contexts"]["globex"]
    with session(acme) as attacker, pytest.raises(psycopg.errors.InsufficientPrivilege, match="forged ticket"):
        attacker.execute(ENTER, ticket(acme, globex))


def test_from_within_acme_globex_is_neither_read_nor_written(pooled: Any) -> None:
    globex = pooled["contexts"]["globex"].tenant_id
    attempts = {
        "SELECT count(*) FROM projects_tag WHERE tenant_id = %s": [(0,)],
        "UPDATE projects_tag SET name = 'stolen' WHERE tenant_id = %s RETURNING 1": [],
        "DELETE FROM projects_tag WHERE tenant_id = %s RETURNING 1": [],
    }
    with session(pooled["acme"]) as attacker:
        attacker.execute(ENTER, ticket(pooled["acme"], pooled["contexts"]["acme"]))
        assert {text: attacker.execute(text, (globex,)).fetchall() for text in attempts} == attempts
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            attacker.execute("INSERT INTO projects_tag (tenant_id, name) VALUES (%s, 'planted')", (globex,))
    with session(pooled["globex"]) as owner:
        owner.execute(ENTER, ticket(pooled["globex"], pooled["contexts"]["globex"]))
        assert len(owner.execute(TAGS).fetchall()) == 4


def test_acmes_storage_credentials_end_at_its_prefix(pooled: Any) -> None:
    acme, globex = pooled["acme"]["storage"], pooled["globex"]["storage"]
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=acme["endpoint_url"],
        region_name=acme["region"],
        aws_access_key_id=acme["access_key_id"],
        aws_secret_access_key=acme["secret_access_key"],
        aws_session_token=acme["session_token"],
        config=Config(s3={"addressing_style": "path"}),
    )
    client.put_object(Bucket=acme["bucket"], Key=f"{acme['prefix']}mine", Body=b"1")
    for attempt in (
        lambda: client.put_object(Bucket=acme["bucket"], Key=f"{globex['prefix']}planted", Body=b"1"),
        lambda: client.list_objects_v2(Bucket=acme["bucket"], Prefix=globex["prefix"]),
        lambda: client.list_objects_v2(Bucket=acme["bucket"]),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_a_shared_password_is_not_rotated_for_one_tenant(pooled: Any) -> None:
    door, acme = pooled["door"], pooled["ids"]["acme"]
    assert door.get(f"tenants/{acme}").json()["actions"] == ["credentials", "suspend", "delete", "export"]
    refused = door.post(f"tenants/{acme}/rotate-credentials", {"reason": "a leak"})
    assert (refused.status_code, refused.json()["code"]) == (409, "STATE_CONFLICT")
    assert "which its pool shares" in refused.json()["detail"]
    plan = door.post(f"tenants/{acme}/rotate-credentials?validate_only=true", {"reason": "a leak"}, key=None).json()
    assert [each["message"] for each in plan["blockers"]] == [refused.json()["detail"]]


def test_pools_are_shown_where_their_tenants_and_their_cluster_are(pooled: Any) -> None:
    door, acme = pooled["door"], pooled["ids"]["acme"]
    placement = door.get(f"tenants/{acme}").json()["placement"]
    assert (placement["tier"], placement["pool"]) == ("pool", "pool_1")
    (pool,) = door.get(f"clusters/{placement['cluster']}").json()["pools"]
    assert (pool["name"], pool["state"], pool["tenants"], pool["capacity"]) == ("pool_1", "open", 2, 10_000)
    assert door.get("plans/pool").json()["own_role"] is False


def test_the_plan_says_what_an_onboarding_would_make(pooled: Any) -> None:
    body = {"slug": "initech", "name": "Initech", "plan": "pool"}
    plan = pooled["door"].post("tenants?validate_only=true", body, key=None).json()
    assert plan["creates"] == [
        "rows of t_<id> in pool_1 on local-1",
        "prefix t_<id>/ of the bucket of pool_1",
        "data key",
    ]
    assert plan["blockers"] == []
