"""A real broker, and a real worker with one process, which has the application's rights and no others."""

import base64
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Task, chain, chord, group
from celery.result import AsyncResult
from celery.signals import before_task_publish
from redis import Redis

from controlplane.stack.embedded import Stack
from controlplane.stack.process import Program, start
from examples.projects.models import Project
from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import task_headers, tasks
from tenants.isolation.secret_keys import SecretKeyMissing, SecretKeyUnusable
from tenants.isolation.task_headers import FORMER_SECRET, HEADER, SECRET, Message, Origin, TenantRefused, verified
from tenants.isolation.tasks import OnlyJson, beat_of_nobody, beyond_json, foreign_tasks
from tenants.models import Tenant
from tenants.states import TenantState
from tests.live import CHECKOUT, Live
from tests.pair import Pair
from tests.tenants.isolation import shop

pytestmark = pytest.mark.long

WITHIN_S = 30
OPTIONS = ("-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle")
KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(autouse=True)
def header_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, KEY)


@pytest.fixture(scope="module")
def worker(stack: Stack, both: Pair, live: Live) -> Iterator[None]:
    log = stack.folder / "logs" / "shop.log"
    program = Program(
        name="shop",
        command=(sys.executable, "-m", "celery", "-A", shop.__name__, "worker", *OPTIONS),
        environment={
            **{name: stack.environment[name] for name in ("CACHE_URL", "DIRECTORY_URL")},
            "BROKER_URL": shop.app.conf.broker_url,  # Celery's command line prefers it to what the app says
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "examples.site.settings",
            "APPLICATION_SECRET_KEY": "of the application alone",
            "TENURE_API_URL": f"http://127.0.0.1:{live.web}",
            "TENURE_API_KEY": both.key,
            SECRET: KEY,
        },
        folder=CHECKOUT,
        ready=lambda: log.exists() and " ready." in log.read_text(),
        ready_within_s=60,
    )
    child = start(program, output=log)
    try:
        child.wait_until_ready()
        yield
    finally:
        child.stop()


@pytest.fixture
def acme(pair: Pair) -> TenantContext:
    return pair.acme


@pytest.fixture
def globex(pair: Pair) -> TenantContext:
    """The neighbour, who must never notice."""
    return pair.globex


def outcome(result: "AsyncResult[Any]") -> Any:
    return result.get(timeout=WITHIN_S)


def refusal(result: "AsyncResult[Any]") -> str:
    """The name of the error that it ends with."""
    error = result.get(timeout=WITHIN_S, propagate=False)
    assert isinstance(error, Exception), error
    return type(error).__name__


def signed(scope: TenantContext | None, **message: Any) -> dict[str, Any]:
    """A message as `apply_async` would send it; None: without a scope."""
    body = app_message(**message)
    if scope is not None:
        with tenant_scope(scope):
            tasks.sign(body["headers"]["task"], body["body"], body["headers"])
    return body


def app_message(*, task: Any = shop.whose, id: str = "", **parts: Any) -> dict[str, Any]:
    made = shop.app.amqp.as_task_v2(id or str(uuid4()), task.name, **parts)
    return {"headers": made.headers, "body": made.body, "properties": made.properties}


def post(message: dict[str, Any], **options: Any) -> "AsyncResult[Any]":
    """Straight to the broker, past every class of ours: what somebody does who can write to it."""
    with shop.app.producer_or_acquire() as producer:
        producer.publish(
            message["body"],
            headers=message["headers"],
            routing_key=shop.QUEUE,
            **{"serializer": "json", **message["properties"], **options},
        )
    return shop.app.AsyncResult(message["headers"]["id"])


def waiting() -> int:
    with Redis.from_url(shop.app.conf.broker_url) as broker:
        return int(broker.llen(shop.QUEUE))


@pytest.mark.usefixtures("worker")
class TestAWorker:
    def test_runs_a_task_as_the_tenant_that_sent_it(self, acme: TenantContext, globex: TenantContext) -> None:
        for context in (acme, globex):
            with tenant_scope(context):
                assert outcome(shop.projects.delay(f"{context.slug}'s rocket")) == [f"{context.slug}'s rocket"]
                assert list(Project.objects.values_list("name", flat=True)) == [f"{context.slug}'s rocket"]

    def test_forgets_a_tenant_whose_task_dies_in_set_up(self, acme: TenantContext, globex: TenantContext) -> None:
        with tenant_scope(acme):
            first, broken = shop.whose.delay(), shop.die_in_set_up.delay()
        nobody = shop.is_nobodys.delay()
        with tenant_scope(globex):
            then = shop.whose.delay()
        assert (outcome(first), refusal(broken), outcome(nobody), outcome(then)) == (
            "acme",
            "RuntimeError",
            True,
            "globex",
        )

    def test_keeps_the_tenant_through_retries(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            result = shop.try_thrice.delay()
        assert outcome(result) == ["acme", 2, result.id]

    def test_keeps_the_tenant_in_groups_chains_and_chords(self, acme: TenantContext, globex: TenantContext) -> None:
        sent: list[tuple[str, Any, Any]] = []
        for context in (acme, globex):
            with tenant_scope(context):
                parts = group(shop.whose.s(number) for number in range(3))
                sent.append((context.slug, parts.delay(), chord(parts)(shop.join.s("!"))))
                sent.append((context.slug, None, chain(shop.whose.s(), shop.whose.s(), parts, shop.join.s())()))
        for slug, members, joined in sent:
            assert members is None or members.get(timeout=WITHIN_S) == [slug] * 3
            assert outcome(joined).startswith(f"{slug}+(+{slug}+{slug}+{slug}+")

    def test_keeps_the_tenant_in_callbacks(self, acme: TenantContext) -> None:
        linked, heard = str(uuid4()), str(uuid4())
        with tenant_scope(acme):
            shop.whose.apply_async(link=shop.join.s().set(task_id=linked))
            shop.fail.apply_async(link_error=shop.after_failure.s().set(task_id=heard))
        assert outcome(shop.app.AsyncResult(linked)) == "acme+(+a+c+m+e+)"
        assert outcome(shop.app.AsyncResult(heard)) == "acme heard of it"

    def test_tells_a_chord_of_a_part_that_failed(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            result = chord([shop.whose.s(), shop.fail.s()])(shop.join.s())
        assert refusal(shop.app.AsyncResult(result.id)) == "ChordError"

    def test_takes_every_value_that_json_can_carry(self, acme: TenantContext) -> None:
        at = datetime(2026, 1, 2, 3, tzinfo=UTC)
        value = {"ü": [1, 2.5, None, True], 7: ("a", "b"), "at": at, "id": acme.tenant_id, "raw": b"\xff"}
        with tenant_scope(acme):
            slug, came, named = outcome(shop.echo.apply_async((value,), {"late": at}, eta=datetime.now(UTC)))
        assert slug == "acme"
        assert (came["at"], came["id"], came["raw"], came["7"]) == (at, acme.tenant_id, b"\xff", ["a", "b"])
        assert named == {"late": at}

    def test_shows_no_argument_in_what_celery_logs(self, acme: TenantContext) -> None:
        seen: list[str] = []

        def look(headers: Any, **_ignored: Any) -> None:
            seen.append(str(headers))

        before_task_publish.connect(look)
        with tenant_scope(acme):
            assert outcome(shop.echo.delay("a secret"))
        assert len(seen) == 1
        assert "a secret" not in seen[0]

    def test_runs_the_platforms_tasks_in_nobodys_scope(self, acme: TenantContext) -> None:
        outside = shop.is_nobodys.delay()
        with tenant_scope(acme):
            followed = chain(shop.whose.s(), shop.is_nobodys.s())()
        assert (outcome(outside), outcome(followed)) == (True, True)

    def test_has_no_tenant_left_for_what_follows_a_task_of_the_platform(self) -> None:
        result = shop.is_nobodys.apply_async(link=shop.whose.s())
        assert refusal(result) == "NoTenant"


ALTERED = {
    "no header": lambda message, other: message["headers"].pop(HEADER),
    "an empty header": lambda message, other: message["headers"].update({HEADER: ""}),
    "no text": lambda message, other: message["headers"].update({HEADER: ["1", "2", "3", "4"]}),
    "a forged header": lambda message, other: message["headers"].update(
        {HEADER: message["headers"][HEADER][:-4] + "AAAA"}
    ),
    "another tenant": lambda message, other: message["headers"].update(
        {HEADER: message["headers"][HEADER].replace(message["headers"][HEADER].split(".")[1], other.tenant_id.hex)}
    ),
    "the platform": lambda message, other: message["headers"].update(
        {HEADER: ".".join(("1", "platform", "platform", message["headers"][HEADER].split(".")[3]))}
    ),
    "another id": lambda message, other: message["headers"].update(id=str(uuid4())),
    "another id, and the signed one in the body": lambda message, other: (
        message["body"][2].update(id=message["headers"]["id"]),
        message["headers"].update(id=str(uuid4())),
    ),
    "another task": lambda message, other: message["headers"].update(task=shop.echo.name),
    "other arguments": lambda message, other: message.update(body=(("other",), {}, message["body"][2])),
    "other arguments, and the signed ones in the body": lambda message, other: message.update(
        body=(("other",), {}, {**message["body"][2], "args": [], "kwargs": {}})
    ),
    "other named arguments": lambda message, other: message.update(body=((), {"a": 1}, message["body"][2])),
    "another group": lambda message, other: message["headers"].update(group=str(uuid4())),
    "a callback": lambda message, other: message["body"][2].update(callbacks=[dict(shop.is_nobodys.s())]),
    "a claim to be called directly": lambda message, other: (
        message["headers"].pop(HEADER),
        message["body"][2].update(called_directly=True, is_eager=True, tenure_admission={"refusal": None}),
    ),
}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_message_is_not_run(alter: Any, acme: TenantContext, globex: TenantContext) -> None:
    untouched = signed(acme)
    assert outcome(post(untouched)) == "acme"  # so what is refused below is refused for what was altered
    message = signed(acme)
    alter(message, globex)
    sent = post(message)
    stored = message["body"][2].get("id", sent.id)  # Celery writes the failure under the id of the body
    assert refusal(shop.app.AsyncResult(stored)) == "TenantRefused"


@pytest.mark.usefixtures("worker")
def test_nothing_follows_a_message_that_was_refused(acme: TenantContext) -> None:
    for scope, named in ((acme, "RuntimeError"), (None, "TenantRefused")):
        after, heard = str(uuid4()), str(uuid4())
        follow_ups = {
            "callbacks": [dict(shop.is_nobodys.s().set(task_id=after))],
            "errbacks": [dict(shop.hear.s().set(task_id=heard))],
        }
        assert refusal(post(signed(scope, task=shop.fail, **follow_ups))) == named
        if scope is not None:
            assert outcome(shop.app.AsyncResult(heard))  # what was signed does follow
    last = shop.is_nobodys.delay()  # one process, one queue: whatever was sent before has run by then
    assert outcome(last)
    assert [shop.app.AsyncResult(each).state for each in (after, heard)] == ["PENDING", "PENDING"]


@pytest.mark.usefixtures("worker")
def test_an_expired_message_gets_nothing_of_the_platforms_signed() -> None:
    """It is dealt with by the worker's main process, which has looked at no signature."""
    heard, joined, parts = str(uuid4()), str(uuid4()), str(uuid4())
    told: Any = {"link_error": [dict(shop.hear.s().set(task_id=heard))]}
    body = dict(shop.join.s().set(task_id=joined, **told))
    shop.app.backend.set_chord_size(parts, 1)
    message = signed(None, chord=body, group_id=parts, expires=datetime.now(UTC) - timedelta(seconds=1))
    assert refusal(post(message)) == "TaskRevokedError"
    assert refusal(shop.app.AsyncResult(joined)) == "NoTenant"  # so the follow-up was about to be sent
    assert outcome(shop.is_nobodys.delay())
    assert shop.app.AsyncResult(heard).state == "PENDING"


@pytest.mark.usefixtures("worker")
def test_a_task_class_that_forgets_to_call_ours_finds_no_scope(acme: TenantContext) -> None:
    assert outcome(post(signed(acme, task=shop.carelessly_whose))) == "acme"
    assert refusal(post(signed(None, task=shop.carelessly_whose))) == "NoTenant"


@pytest.mark.usefixtures("worker")
def test_a_pickled_message_is_not_even_opened(acme: TenantContext) -> None:
    ran = CHECKOUT / f"pickled-{uuid4().hex}"

    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(ran),))

    message = signed(acme)
    message["body"] = ((Bomb(),), {}, message["body"][2])
    post(message, serializer="pickle")
    assert outcome(shop.is_nobodys.delay())
    assert not ran.exists()


@pytest.mark.usefixtures("worker")
class TestATenantThatIsNotWhatItWas:
    def test_is_refused_while_it_is_suspended(self, changing_pair: Pair) -> None:
        chorded = str(uuid4())
        with tenant_scope(changing_pair.acme):
            assert outcome(shop.whose.delay()) == "acme"
            Tenant.objects.filter(pk=changing_pair.acme.tenant_id).update(state=TenantState.SUSPENDED)
            late = shop.whose.apply_async(countdown=0.1)
            body = shop.join.s().set(task_id=chorded)
            chord([shop.whose.s(), shop.whose.s()])(body)
        with tenant_scope(changing_pair.globex):
            assert outcome(shop.whose.delay()) == "globex"
        assert refusal(late) == "NotAdmitted"
        assert refusal(shop.app.AsyncResult(chorded)) == "ChordError"  # whoever waits for it is told

    def test_is_refused_in_a_former_life(self, acme: TenantContext) -> None:
        assert refusal(post(signed(replace(acme, incarnation=uuid4())))) == "NotAdmitted"

    def test_is_refused_when_nobody_knows_it(self, acme: TenantContext) -> None:
        assert refusal(post(signed(replace(acme, tenant_id=uuid4())))) == "NotAdmitted"


class TestSending:
    """None of these reaches the broker, so no worker is needed."""

    @pytest.fixture(autouse=True)
    def nothing_is_sent(self) -> Iterator[None]:
        before = waiting()
        yield
        assert waiting() == before

    def test_needs_a_scope(self, caplog: pytest.LogCaptureFixture) -> None:
        for send in (
            shop.whose.delay,
            shop.whose.apply_async,
            lambda: shop.whose.s().apply_async(),
            group(shop.whose.s(), shop.whose.s()).delay,
            lambda: chord([shop.whose.s()])(shop.join.s()),
            shop.whose.apply,
            shop.whose,
        ):
            with pytest.raises(NoTenant):
                send()
        assert "isolation.refused.task: no scope" in caplog.text

    @pytest.mark.parametrize("serializer", ["pickle", "yaml", "application/x-python-serialize"])
    def test_takes_json_only(self, serializer: str, acme: TenantContext) -> None:
        with tenant_scope(acme), pytest.raises(OnlyJson):
            shop.whose.apply_async(serializer=serializer)

    @pytest.mark.parametrize(("key", "error"), [("", SecretKeyMissing), ("c2hvcnQ=", SecretKeyUnusable)])
    def test_needs_a_key(
        self, key: str, error: type[Exception], acme: TenantContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(SECRET, key)
        with tenant_scope(acme), pytest.raises(error, match=SECRET):
            shop.whose.delay()

    def test_a_call_in_this_process_stays_in_its_scope(self, acme: TenantContext) -> None:
        with tenant_scope(acme):
            assert shop.whose() == "acme"
            assert shop.whose.apply().get() == "acme"
            assert shop.is_nobodys() is False


def test_a_rotated_key_still_opens_what_was_sent_before(acme: TenantContext, monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(task="a", id="b", group="", body=b"c")
    header = task_headers.signed(message, acme)
    monkeypatch.setenv(SECRET, base64.b64encode(secrets.token_bytes(32)).decode())
    with pytest.raises(TenantRefused):
        verified(message, header)
    monkeypatch.setenv(FORMER_SECRET, KEY)
    assert verified(message, header) == Origin(acme.tenant_id, acme.incarnation)


def test_what_a_check_would_complain_of() -> None:
    assert (foreign_tasks(shop.app), beyond_json(shop.app), beat_of_nobody(shop.app)) == ([], [], [])
    wrong = Celery("wrong", set_as_current=False, broker="memory://", changes={"accept_content": ["json", "pickle"]})
    wrong.conf.beat_schedule = {
        "nightly": {"task": "tests.whose", "schedule": 60},
        "cleaning": {"task": "celery.backend_cleanup", "schedule": 60},
    }
    wrong.task(name="tests.whose", base=Task, shared=False)(shop.whose.run)
    assert "tests.whose" in foreign_tasks(wrong)
    assert beyond_json(wrong) == ["pickle"]
    assert beat_of_nobody(wrong) == ["nightly"]
