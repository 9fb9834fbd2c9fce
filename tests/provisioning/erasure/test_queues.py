import base64
import json
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis import Redis

from provisioning.erasure import controls
from provisioning.erasure.erasers.queues import QueuesEraser
from provisioning.erasure.stores import Identifier
from provisioning.erasure.verifiers.queues import QueuesVerifier
from tenants.context import TenantContext
from tenants.isolation.task_headers import HEADER
from tests.provisioning.erasure.conftest import Neighbours
from tests.provisioning.erasure.counting import Killed, erased, scope_of, total, verdict

ERASER, VERIFIER = QueuesEraser(), QueuesVerifier()
QUEUES = ("shop", "shop\x06\x163")  # of one name and two priorities, as kombu calls them


def message(tenant: TenantContext, *args: str, id: str = "") -> dict[str, Any]:
    """As kombu writes it; the application's own tests show that its tasks carry the header."""
    whose = f"1.{tenant.tenant_id.hex}.{tenant.incarnation.hex}.MAC"
    body = base64.b64encode(json.dumps([list(args), {}, {}]).encode()).decode()
    headers = {"task": "shop.tasks.send", "id": id or str(uuid4()), HEADER: whose}
    return {"body": body, "headers": headers, "properties": {"body_encoding": "base64"}}


@pytest.fixture
def broker(neighbours: Neighbours) -> Any:
    """Both tenants' messages: waiting in two queues, held by a worker, and the result of one."""
    with Redis.from_url(settings.BROKER_URL) as client:
        controls.plant(neighbours.acme.tenant_id)
        for tenant in (neighbours.acme, neighbours.globex):
            known = message(tenant, id=f"result-{tenant.slug}")
            for queue in QUEUES:
                client.rpush(queue, json.dumps(message(tenant, "ada@example.com")), json.dumps(known))
            client.hset("unacked", tenant.slug, json.dumps([message(tenant), "", "shop"]))
            client.zadd("unacked_index", {tenant.slug: 1.0})
            client.set(f"celery-task-meta-result-{tenant.slug}", json.dumps({"result": str(tenant.tenant_id)}))
        yield client
        client.delete(*QUEUES, "unacked", "unacked_index", *client.keys("celery-task-meta-*"), "celery")


def test_messages_that_name_acme_go_and_globexs_wait_on(neighbours: Neighbours, broker: Any) -> None:
    acme, scope = neighbours.acme, scope_of(neighbours.acme)
    assert total(VERIFIER, scope) == 6  # two in each queue, one that is held, one result
    with pytest.raises(Killed):
        erased(ERASER, scope, dies_at=3)
    erased(ERASER, scope)
    found = verdict(VERIFIER, scope)
    assert (found.status, found.reasons) == ("clean", ())
    assert [broker.llen(queue) for queue in QUEUES] == [2, 2]
    for tenant, kept in (("acme", False), ("globex", True)):  # beside what workers of other tests may have left
        assert broker.hexists("unacked", tenant) == kept
        assert (broker.zscore("unacked_index", tenant) is not None) == kept
        assert broker.exists(f"celery-task-meta-result-{tenant}") == kept

    # Sent by something that signs no header: no eraser knows it, and the verifier reads the body.
    broker.rpush("celery", json.dumps({**message(neighbours.globex, str(acme.tenant_id)), "headers": {}}))
    assert verdict(VERIFIER, scope).reasons == ("queues:broker still holds 1",)
    broker.delete(controls.UNACKED)
    assert verdict(VERIFIER, scope).status == "unknown"


def test_of_a_person_go_the_messages_that_speak_of_it(neighbours: Neighbours, broker: Any) -> None:
    scope = scope_of(neighbours.acme, Identifier("email", "ada@example.com"), subject=True)
    assert erased(ERASER, scope) == 2
    assert [broker.llen(queue) for queue in QUEUES] == [3, 3]
    assert verdict(VERIFIER, scope).status == "clean"


def test_a_broker_that_cannot_be_listed_is_left_to_its_dates(neighbours: Neighbours, settings: Any) -> None:
    settings.BROKER_URL = "amqp://broker.example:5672//"
    scope = scope_of(neighbours.acme)
    assert erased(ERASER, scope) == 0
    tallies = VERIFIER.count(scope)
    assert {(tally.action, tally.n, tally.until is None) for tally in tallies} == {("expire", None, False)}
    assert verdict(VERIFIER, scope).status == "clean"
