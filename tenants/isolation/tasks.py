"""Celery tasks that run as the tenant they were sent for. The one module here that imports Celery.

    app = Celery("shop", task_cls="tenants.isolation.tasks:TenantTask")
    app.conf.update(task_serializer="json", accept_content=["json"])

# Note [Where a task is refused]
Callbacks, error callbacks, the next link of a chain and the body of a chord are sent by the worker after the task's
function has returned, so the scope must be open from `task_prerun` to `task_postrun`. But Celery logs and swallows what
a receiver of a signal raises. So a receiver never decides alone: `apply_async` refuses to send without a scope, and
`__call__` refuses to run what the receiver has not admitted. A task class that overrides `__call__` or `before_start`
without calling ours does run its own code for a message that was refused, and finds no scope there.

# Note [A worker signs only for what it has admitted]
A worker sends the follow-ups that a message names, and there are ways to that which pass by our receivers: a message
that has expired, or whose process was killed, is dealt with by the worker's main process. Tenants' tasks find no scope
there. So that nobody gets a platform's task signed by forging such a message, a worker sends those only while it works
on a message that it has admitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar

from celery import Celery, signals
from celery.contrib.django.task import DjangoTask
from django.db import OperationalError
from kombu.utils import json

from tenants.context import TenantContext, current, current_or_none, tenant_scope
from tenants.errors import NotAdmitted, NoTenant, TenureError, WrongTenant
from tenants.isolation.refusals import Layer, refused
from tenants.isolation.secret_keys import secret_key
from tenants.isolation.task_headers import HEADER, PLATFORM, SECRET, Message, TenantRefused, signed, verified

JSON = frozenset({"json", "application/json"})
CELERYS_OWN_OF_NO_TENANT = frozenset({"celery.backend_cleanup"})
ADMISSION = "tenure_admission"  # an attribute of Celery's request
FOLLOW_UPS = ("callbacks", "errbacks", "chain", "chord")  # of a message's body, in Celery's words

_in_process: ContextVar[bool] = ContextVar("tenant_task_in_process", default=False)
_working: ContextVar[bool] = ContextVar("tenant_task_working", default=False)
"""Whether a message that was found genuine is being worked on."""


class OnlyJson(TenureError):
    """Tasks of tenants are sent as JSON: a pickled message runs code of whoever can write to the broker."""

    code = "ONLY_JSON"
    cure = 'Leave `serializer` out, and set task_serializer = "json" and accept_content = ["json"].'


class DirectoryUnavailable(TenureError):
    """The directory does not answer, so nobody knows whether the tenant may run a task."""

    code = "DIRECTORY_UNAVAILABLE"
    cure = "Send the task again. If it lasts, look at the control database."


@dataclass(slots=True)
class _Process:
    is_worker: bool = False


_process = _Process()


@dataclass(slots=True)
class _Admission:
    """What was decided about a message before its task runs. JSON cannot make one, so no message brings its own."""

    refusal: TenureError | None
    opened: ExitStack = field(default_factory=ExitStack)
    used: bool = False


class TenantTask(DjangoTask[Any, Any]):
    """Sent inside a tenant's scope, run inside it. `platform = True`: sent and run without one, for the platform."""

    platform: ClassVar[bool] = False

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """As Celery's. Raises NoTenant, OnlyJson, or a secret key's error, all before the broker hears of it."""
        if not of_no_tenant(self):
            _scope_or_refusal()
        elif _process.is_worker and not _working.get():
            refused(Layer.TASK, "follow-up of a message that was not admitted")
            raise NoTenant("A worker sends a task of the platform only from within another task.")
        serializer = options.get("serializer") or self.serializer
        if serializer not in JSON:
            refused(Layer.TASK, "not JSON")
            raise OnlyJson
        secret_key(SECRET)  # an error of the receiver that signs would be swallowed
        # Overwritten by the signature; of a retried task it is the former one.
        options["headers"] = {**(options.get("headers") or {}), HEADER: PLATFORM if of_no_tenant(self) else ""}
        # Celery would write arguments into headers, events and its log.
        options = {"argsrepr": "-", "kwargsrepr": "-", **options}
        return super().apply_async(args, kwargs, **options)

    def apply(self, *args: Any, **options: Any) -> Any:
        """At once, in this process, and so in the scope that is open."""
        if not of_no_tenant(self):
            _scope_or_refusal()
        with _set(_in_process):
            return super().apply(*args, **options)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        if (refusal := _admission_of(self).refusal) is not None:
            raise refusal
        super().before_start(task_id, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly or (admission := _admission_of(self)).used:  # a function call like any other
            if not of_no_tenant(self):
                _scope_or_refusal()
            return super().__call__(*args, **kwargs)
        admission.used = True
        if admission.refusal is not None:
            raise admission.refusal
        return self.run(*args, **kwargs)  # Celery's __call__ would hide the request, and with it retry()


def of_no_tenant(task: Any) -> bool:
    """Whether the task runs for the platform."""
    return bool(getattr(task, "platform", False)) or task.name in CELERYS_OWN_OF_NO_TENANT


def foreign_tasks(app: Celery) -> list[str]:
    """For a system check: the names of tasks that are no TenantTask, and so run without a scope."""
    return sorted(name for name, task in app.tasks.items() if not isinstance(task, TenantTask))


def beyond_json(app: Celery) -> list[str]:
    """For a system check: what `accept_content` and the serializers admit beside JSON."""
    used = (app.conf.task_serializer, app.conf.result_serializer)
    results: Iterable[str] = app.conf.result_accept_content or ()
    return sorted({*app.conf.accept_content, *results, *used} - JSON)


def beat_of_nobody(app: Celery) -> list[str]:
    """For a system check: entries of the schedule that would be sent without a scope, and so refused."""
    schedule: dict[str, dict[str, Any]] = app.conf.beat_schedule or {}
    tasks = {entry: app.tasks.get(what["task"]) for entry, what in schedule.items()}
    return sorted(entry for entry, task in tasks.items() if task is None or not of_no_tenant(task))


@signals.before_task_publish.connect(dispatch_uid="tenure.sign")
def sign(sender: str, body: Any, headers: dict[str, Any], **_ignored: Any) -> None:
    """Whatever raises here is swallowed, and the message goes without a header: then the worker refuses it."""
    asked = headers.pop(HEADER, "")
    scope = None if asked == PLATFORM else current_or_none()
    if scope is None and asked != PLATFORM:
        return
    message = _message(task=sender, id=headers["id"], group=headers.get("group"), body=body)
    headers[HEADER] = signed(message, scope)


@signals.worker_init.connect(dispatch_uid="tenure.worker")
def begin_worker(**_ignored: Any) -> None:
    """See Note [A worker signs only for what it has admitted]. Its children inherit it."""
    _process.is_worker = True


@signals.beat_embedded_init.connect(dispatch_uid="tenure.beat")
def begin_beat(**_ignored: Any) -> None:
    """`celery worker -B`: a process of its own, which works on no messages."""
    _process.is_worker = False


@signals.task_prerun.connect(dispatch_uid="tenure.open")
def open_scope(task: Any, task_id: str, args: Any, kwargs: Any, **_ignored: Any) -> None:
    """Decide about a message, and open its tenant's scope; what is decided is acted upon in `__call__`."""
    if not isinstance(task, TenantTask):
        return
    admission = _Admission(refusal=TenantRefused(reason="not looked at"))
    setattr(task.request, ADMISSION, admission)
    if _in_process.get():
        admission.refusal = None
        return
    try:
        context = _tenant_of(task, task_id, args, kwargs)
    except (NotAdmitted, DirectoryUnavailable) as error:
        # The message is genuine: a chord waits for it and must hear of the failure. Nothing else follows.
        _refuse(task, admission, error, dropped=("callbacks", "errbacks"))
    except TenureError as error:
        _refuse(task, admission, error, dropped=FOLLOW_UPS)
    else:
        admission.opened.enter_context(_set(_working))
        if context is not None:
            admission.opened.enter_context(tenant_scope(context))
        admission.refusal = None


@signals.task_postrun.connect(dispatch_uid="tenure.close")
def close_scope(task: Any, **_ignored: Any) -> None:
    if isinstance(task, TenantTask):
        _admission_of(task).opened.close()


def _tenant_of(task: TenantTask, task_id: str, args: Any, kwargs: Any) -> TenantContext | None:
    """Whose scope to open for the message; None: the platform's. What is passed is what will be run.

    The request holds the same, but a message can put other values there.
    """
    request = task.request
    if current_or_none() is not None:
        raise WrongTenant("A scope is still open from what this worker did before.")
    follow_ups = {name: getattr(request, name) for name in FOLLOW_UPS}
    message = _message(task=task.name, id=task_id, group=request.group, body=(args, kwargs, follow_ups))
    origin = verified(message, getattr(request, HEADER, None))
    if (origin is None) != of_no_tenant(task):
        raise TenantRefused(reason="platform and tenant confused")
    if origin is None:
        return None
    from tenants.isolation.directory import admitted  # reads models, and Celery's app is imported before they can be

    try:
        return admitted(origin.tenant, origin.incarnation)
    except OperationalError as error:
        raise DirectoryUnavailable from error


def _message(*, task: str, id: str, group: str | None, body: tuple[Any, Any, dict[str, Any]]) -> Message:
    """The body as it is after it went through JSON once: with text as keys, lists for tuples, dates as Celery's own."""
    args, kwargs, follow_ups = body
    once = json.loads(json.dumps([list(args), kwargs, {name: follow_ups.get(name) for name in FOLLOW_UPS}]))
    return Message(task=task, id=id, group=group or "", body=json.dumps(once, sort_keys=True).encode())


def _refuse(task: TenantTask, admission: _Admission, error: TenureError, *, dropped: Iterable[str]) -> None:
    admission.refusal = error
    for name in dropped:
        setattr(task.request, name, None)
    refused(Layer.TASK, str(error.metadata.get("reason", error.code)), subject=str(task.request.id))


def _admission_of(task: TenantTask) -> _Admission:
    """What was decided, or that nothing was: then the receiver failed, and the task is refused."""
    found = getattr(task.request, ADMISSION, None)
    return found if isinstance(found, _Admission) else _Admission(refusal=TenantRefused(reason="not looked at"))


def _scope_or_refusal() -> TenantContext:
    try:
        return current()
    except NoTenant:
        refused(Layer.TASK, "no scope")
        raise


@contextmanager
def _set(flag: ContextVar[bool]) -> Iterator[None]:
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)
