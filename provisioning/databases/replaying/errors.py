"""What can keep a target from being brought along, and how a rollout's error budget counts it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import psycopg

from provisioning.databases.servers import ServerUnavailable
from provisioning.errors import Permanent, Transient
from tenants.errors import TenureError

STATEMENT_SAID = 500  # characters of a statement that failed
LINES_SAID = 5  # of a difference; the whole is in the error's metadata
# Our own, raised by departure.sql and by markers: no class of PostgreSQL's begins with TN.
ALREADY_THERE, ELSEWHERE, BETWEEN, OVERTAKEN = "TN001", "TN002", "TN003", "TN004"
UNJUDGED = "TN005"  # by tenure.demand, of stamp.sql

# What may pass by itself (PostgreSQL 18, "Appendix A. PostgreSQL Error Codes"): connections, rollbacks of the server's
# own, no room, operator intervention, and what two sessions changed at the same moment. Of class 55 only the lock.
_PASSES = ("08", "40", "53", "57", "58", "XX")
_DATA = ("22", "23")
_LOCKS = (psycopg.errors.LockNotAvailable.sqlstate, psycopg.errors.DeadlockDetected.sqlstate)
_QUOTED = re.compile(r'"[^"]*"')


class Trouble(StrEnum):
    """The classes of an error budget."""

    LOCK_TIMEOUT = "lock timeout"
    DATA = "data error"
    CONNECTION = "lost connection"
    DRIFT = "drift"
    OTHER = "other"


class LockTimeout(Transient):
    """Somebody holds a lock that the release needs. Nothing was changed."""

    code = "LOCK_TIMEOUT"
    cure = "It is tried again by itself. If it lasts, end the long transaction that holds the lock."


class StatementFailed(Permanent):
    """The target refuses a statement of the release. Its transaction was rolled back.

    `metadata` says which: migration, operation, statement (its beginning), error, sqlstate, table, constraint, trouble.
    """

    code = "STATEMENT_FAILED"
    cure = "Mend the rows that are in the way, then retry; or skip the target."


class ShapeDiffers(Permanent):
    """The target would end in another shape than the release's. It was rolled back. `metadata["difference"]`: lines."""

    code = "SHAPE_DIFFERS"
    cure = "Undo what was changed by hand, or adopt it, then retry; or skip the target."

    def __init__(self, schema: str, difference: list[str]) -> None:
        more = f"; and {len(difference) - LINES_SAID} more" if len(difference) > LINES_SAID else ""
        said = "; ".join(difference[:LINES_SAID])
        super().__init__(f"{schema} would not get the release's shape: {said}{more}.", difference=difference)
        self.difference = difference


class StandsElsewhere(Permanent):
    """The target's own record of migrations is neither that of the release it was on nor of the one it goes to."""

    code = "TARGET_ELSEWHERE"
    cure = "Find out who migrated it, and bring it back to its release; or skip the target."


class Overtaken(Transient):
    """Another walker took the target on in the meantime. What this one did was rolled back."""

    code = "OVERTAKEN"


class UnsafeInPool(Permanent):
    """The catalog check found fault with a pool's tables after a migration. It was rolled back."""

    code = "POOL_UNSAFE"
    cure = "Report it with the message: a release that fails here should have been refused when it was published."


class RunnerEnded(Transient):
    """The process that runs the release's Python has ended. What it was at was rolled back."""

    code = "RUNNER_ENDED"
    cure = "It is tried again by itself. If it lasts, read what the process said last."


class MigrationMissing(Permanent):
    """The code that is installed here does not hold a migration of the release."""

    code = "MIGRATION_MISSING"
    cure = "Run the rollout from an installation that has the release's code."


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server, or Python, said when it refused. `done`: so many acts of the text had succeeded. No row data."""

    error: str
    message: str
    sqlstate: str = ""
    table: str = ""
    constraint: str = ""
    statement: str = ""
    done: int = 0

    @classmethod
    def of(cls, error: BaseException, *, statement: str = "", done: int = 0) -> Refusal:
        """Of a psycopg error, one of Django's around it, or anything that a migration raised."""
        inner = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
        name = type(error).__name__
        if not isinstance(inner, psycopg.Error):
            return cls(name, _first_lines(str(error)), statement=statement, done=done)
        diag, sqlstate = inner.diag, inner.sqlstate or ""
        if isinstance(inner, psycopg.OperationalError | psycopg.InterfaceError) and not sqlstate:
            sqlstate = "08000"  # the client's own: the connection is gone
        message = diag.message_primary or _first_lines(str(inner))
        if sqlstate.startswith("22"):
            message = _QUOTED.sub('"…"', message)  # these quote the value
        table, constraint = diag.table_name or "", diag.constraint_name or ""
        return cls(name, message, sqlstate, table, constraint, statement=statement, done=done)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Refused(Exception):
    """A text or a Python act was refused; whoever knows what it was makes a typed error of it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def error_of(refusal: Refusal, *, subject: str, migration: str, operation: str, statement: str) -> TenureError:
    """The typed error. `subject` is the target; `statement` is the act's text where the refusal names none."""
    match refusal.sqlstate:
        case code if code in _LOCKS:
            return LockTimeout(f"{subject}: {migration or 'it'} did not get a lock: {refusal.message}.", sqlstate=code)
        case code if code in {ELSEWHERE, BETWEEN}:
            return StandsElsewhere(f"{subject}: {refusal.message}")
        case code if code == OVERTAKEN:
            return Overtaken(f"{subject}: {refusal.message}")
        case code if code.startswith(_PASSES):
            return ServerUnavailable(f"{subject}: {refusal.message}", sqlstate=code)
        case code:
            return StatementFailed(
                f"{subject}: {migration}, {operation}: {refusal.message}",
                migration=migration,
                operation=operation,
                statement=(refusal.statement or statement)[:STATEMENT_SAID],
                error=refusal.error,
                sqlstate=code,
                table=refusal.table,
                constraint=refusal.constraint,
                trouble=Trouble.DATA if code.startswith(_DATA) else Trouble.OTHER,
            )


def trouble_of(error: TenureError) -> Trouble:
    """How the error budget counts it."""
    match error:
        case LockTimeout():
            return Trouble.LOCK_TIMEOUT
        case ServerUnavailable() | RunnerEnded():
            return Trouble.CONNECTION
        case ShapeDiffers() | StandsElsewhere():
            return Trouble.DRIFT
        case StatementFailed():
            return Trouble(str(error.metadata["trouble"]))
        case _:
            return Trouble.OTHER


def _first_lines(text: str) -> str:
    """Up to where PostgreSQL begins to quote rows."""
    lines = text.strip().split("\n")
    kept = [line for line in lines if not line.startswith(("DETAIL:", "LINE ", "CONTEXT:", "HINT:"))]
    return " ".join(" ".join(kept).split())[:STATEMENT_SAID]
