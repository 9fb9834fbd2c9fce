"""What an attack is, and when it counts as refused.

An attack yields attempts. Each has the one right answer: a refusal, or what a tenant may see anyway. It is refused if
every answer was the right one, nothing of globex's was in any of them, and globex's things have the hash they had.
Its control does the same to acme's own things and must succeed before and after: a dead server refuses everything, too.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum

import psycopg
from botocore.exceptions import ClientError
from celery.exceptions import CeleryError
from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError

from tenants.errors import TenureError
from tests.isolation.arena import ALL, Arena, Place, state_of

Act = Callable[[], object]
CANARY = re.compile("canary[0-9a-f]{16}")  # of any arena: the two in the pool share its tables
REFUSALS = (DatabaseError, psycopg.Error, TenureError, ClientError, SuspiciousOperation, CeleryError, OSError)


@dataclass(frozen=True, slots=True)
class Attempt:
    """`answers`: a pattern that the whole answer must have somewhere in it."""

    what: str
    answers: str
    act: Act


class Shows(Enum):
    """How it is seen that an attack got through."""

    CANARY = "something of globex's came back"
    CHANGE = "globex's things are not what they were"
    ANSWER = "another answer than the right one"


@dataclass(frozen=True, slots=True)
class Leak:
    shows: Shows
    what: str


def _nothing_given(_arena: Arena) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Attack:
    """A row of the table. `given` makes what an attack needs and takes it away again."""

    id: str
    title: str
    run: Callable[[Arena], Iterable[Attempt]]
    control: Callable[[Arena], bool]
    places: frozenset[Place] = ALL
    given: Callable[[Arena], AbstractContextManager[None]] = _nothing_given


def leaks(attack: Attack, arena: Arena) -> list[Leak]:
    """What got through; empty: refused. The control is the caller's."""
    found: list[Leak] = []
    with attack.given(arena):
        before = state_of(arena.globex)
        for attempt in attack.run(arena):
            answer = answer_of(attempt.act)
            if CANARY.search(answer):
                found.append(Leak(Shows.CANARY, f"{attempt.what}: {answer}"))
            elif not re.search(attempt.answers, answer):
                found.append(Leak(Shows.ANSWER, f"{attempt.what}: {answer}, not {attempt.answers}"))
        if state_of(arena.globex) != before:
            found.append(Leak(Shows.CHANGE, attack.title))
    return found


def answer_of(act: Act) -> str:
    """Everything that whoever attacks gets to see: a value, or an error with its code and its details."""
    try:
        return repr(act())
    except REFUSALS as error:
        cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
        return f"{type(error).__name__} {getattr(cause, 'sqlstate', '')} {error}"
