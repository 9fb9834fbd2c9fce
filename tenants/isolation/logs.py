"""Log lines that say whose they are, and nothing about the people whose data was worked on.

# Note [What a line holds]
Whose a line is comes from the open scope, never from a database connection, which may be shared or left over. The JSON
lines hold: the message as the code wrote it, with numbers, ids and times filled in. Text is filled in only where the
logger is one of ours or speaks of its own process (TRUSTED): everywhere else an argument may be a name, a path, a
query's parameter or a task's result, and shows as `…`. An exception is its type, its code (SQLSTATE, errno, that of S3)
and where it was raised; never its text, since PostgreSQL's DETAIL and most ValueErrors quote the value. Errors of our
own are made of ids and slugs, and keep theirs. Of a request: method, route (`projects/<int:pk>/`, not the path) and
status. The plain lines, meant for a developer's own terminal, hold everything. What neither can see is a library that
writes a value into the message itself instead of an argument.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from traceback import walk_tb
from types import TracebackType
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from tenants.context import current_or_none
from tenants.errors import TenureError
from tenants.placement import public_id

NOBODY = "-"
HIDDEN = "…"
MOST_CHARACTERS = 4_000  # of a message
MOST_FRAMES = 30
MOST_CAUSES = 5
TRUSTED = ("tenants", "provisioning", "controlplane", "tenure", "gunicorn.error", "celery.apps", "celery.beat")
STAMPS = ("tenant_id", "tenant", "operation", "actor", "request_id")
OUR_FIELDS = ("event", "reason", "subject", "count", "code")  # of `extra=`, in our own records
NAMED_ARGUMENTS = frozenset({"id", "name", "runtime"})  # Celery: of a task, beside its arguments and result
HARMLESS = (bool, int, float, Decimal, UUID, datetime, date, time, timedelta, type(None))


@dataclass(frozen=True, slots=True)
class _Doing:
    operation: str = NOBODY
    actor: str = NOBODY
    request_id: str = NOBODY


NOTHING = _Doing()
_doing: ContextVar[_Doing] = ContextVar("log_doing", default=NOTHING)


@contextmanager
def doing(*, operation: str = "", actor: str = "", request_id: str = "") -> Iterator[None]:
    """Stamp the log lines from inside with ids of what is done, by whom, for which request; what is empty stays."""
    given = {"operation": operation, "actor": actor, "request_id": request_id}
    token = _doing.set(replace(_doing.get(), **{name: value for name, value in given.items() if value}))
    try:
        yield
    finally:
        _doing.reset(token)


class TenantFilter(logging.Filter):
    """Stamps each record, and lets it pass. On every handler: filters of loggers do not see their children's records.

    `tenant_id` is `ten_<hex>` and `tenant` the slug of the open scope; `operation`, `actor` and `request_id` are of
    `doing()`. Whatever there is none of is `-`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        scope, now = current_or_none(), _doing.get()
        record.tenant_id = NOBODY if scope is None else public_id("ten", scope.tenant_id)
        record.tenant = NOBODY if scope is None else scope.slug
        record.operation, record.actor, record.request_id = now.operation, now.actor, now.request_id
        return True


class JsonLines(logging.Formatter):
    """One line of JSON per record. See Note [What a line holds]."""

    def format(self, record: logging.LogRecord) -> str:
        if not hasattr(record, "tenant_id"):
            TenantFilter().filter(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record)[:MOST_CHARACTERS],
            **{name: getattr(record, name) for name in STAMPS},
        }
        if _is_trusted(record.name):
            line |= {name: value for name in OUR_FIELDS if (value := getattr(record, name, None)) is not None}
        line |= _of_request(record)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = list(_errors(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=False, default=str)


def logging_settings(*, format: str, level: str) -> dict[str, Any]:
    """settings.LOGGING: everything to the console, stamped. `format`: "json", or "line" for a developer's terminal."""
    formatters = {
        "json": {"()": f"{__name__}.JsonLines"},
        "line": {"format": "%(levelname)s %(name)s [%(tenant)s] %(message)s"},
    }
    if format not in formatters:
        raise ImproperlyConfigured(f"LOG_FORMAT is {format!r}. Set it to json or line.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"tenant": {"()": f"{__name__}.TenantFilter"}},
        "formatters": formatters,
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": format, "filters": ["tenant"]}},
        # They tell where credentials are.
        "loggers": {"botocore": {"level": "WARNING"}, "boto3": {"level": "WARNING"}},
        "root": {"handlers": ["console"], "level": level},
    }


def unstamped_handlers(config: Mapping[str, Any]) -> list[str]:
    """For a system check: the handlers of settings.LOGGING without a TenantFilter, but those that write nothing."""
    filters: Mapping[str, Mapping[str, Any]] = config.get("filters", {})
    ours = {name for name, made in filters.items() if made.get("()") in {TenantFilter, f"{__name__}.TenantFilter"}}
    return [
        name
        for name, handler in config.get("handlers", {}).items()
        if not ours & set(handler.get("filters", ())) and handler.get("class") != "logging.NullHandler"
    ]


def _is_trusted(logger: str) -> bool:
    return any(logger == name or logger.startswith(f"{name}.") for name in TRUSTED)


def _message(record: logging.LogRecord) -> str:
    template: object = record.msg
    if not isinstance(template, str):
        return str(_shown(template, trusted=False))
    if not record.args:
        return template
    trusted = _is_trusted(record.name)
    try:
        if isinstance(record.args, Mapping):
            named = {
                name: value if name in NAMED_ARGUMENTS else _shown(value, trusted=trusted)
                for name, value in record.args.items()
            }
            return template % named
        return template % tuple(_shown(value, trusted=trusted) for value in record.args)
    except (TypeError, ValueError, KeyError):  # a number's format for what we hid
        return template


def _shown(value: object, *, trusted: bool) -> Any:
    """The value itself where it can name nobody, else what may be told of it."""
    if isinstance(value, BaseException):
        return _named(value)
    if isinstance(value, HARMLESS) or (isinstance(value, Enum) and isinstance(value.value, str | int)):
        return value
    return value if trusted and isinstance(value, str) else HIDDEN


def _named(error: BaseException) -> str:
    code = _code(error)
    name = type(error).__name__ if code is None else f"{type(error).__name__} {code}"
    return f"{name}: {error}" if isinstance(error, TenureError) else name


def _code(error: BaseException) -> str | None:
    """That of PostgreSQL, of the operating system, of S3, or our own."""
    if isinstance(error, TenureError):
        return error.code
    if isinstance(error, OSError) and error.errno is not None:
        return str(error.errno)
    if isinstance(sqlstate := getattr(error, "sqlstate", None), str):
        return sqlstate
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, Mapping) else None
    return str(found.get("Code")) if isinstance(found, Mapping) else None


def _errors(error: BaseException) -> Iterator[dict[str, Any]]:
    """The error and what caused it, the last first."""
    cause: BaseException | None = error
    for _link in range(MOST_CAUSES):
        if cause is None:
            return
        yield {"type": _named(cause), "at": list(_frames(cause.__traceback__))[-MOST_FRAMES:]}
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(traceback):
        where = "/".join(frame.f_code.co_filename.split("/")[-3:])
        yield f"{where}:{line} {frame.f_code.co_name}"


def _of_request(record: logging.LogRecord) -> dict[str, Any]:
    """What Django puts on its records about requests, as far as it names nobody."""
    request = getattr(record, "request", None)
    match = getattr(request, "resolver_match", None)
    found = {
        "method": getattr(request, "method", None),
        "route": getattr(match, "route", None),
        "status": getattr(record, "status_code", None),
    }
    return {name: value for name, value in found.items() if isinstance(value, str | int)}
