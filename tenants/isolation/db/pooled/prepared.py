"""The statements that a tenant repeats on one session, and which of them the session has prepared.

# Note [What is repeated is prepared]
Reading and planning a short statement costs PostgreSQL more than running it, in a pool most of all: the policy is part
of that. So what a tenant says OFTEN times on one session is prepared there. It is done ahead of a transaction, in one
of its own: a statement that cannot be prepared breaks nothing, and is not tried again. `DISCARD ALL` before the next
tenant takes all of it away. Whether a plan is made for the values at hand is PostgreSQL's choice (PostgreSQL 18,
"PREPARE").

Django binds values as literals, since SQL may hold one where a parameter cannot stand or means something else
(`ORDER BY 2`, `interval '1 day'`). So only SQL is taken whose every value stands behind a comparison or in the list of
an IN or of VALUES, and only values whose literal has a type that we can tell: there the server looks for operators and
casts for a parameter as it does for the literal.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from psycopg._queries import PostgresQuery
from psycopg.adapt import PyFormat
from psycopg.postgres import types as builtin
from psycopg.pq import DiagnosticField, ExecStatus

if TYPE_CHECKING:
    from psycopg.abc import Buffer, Params, Transformer
    from psycopg.pq.abc import PGresult

OFTEN = 5
MOST_PREPARED = 100
AT_ONCE = 10
MOST_KNOWN = 1_000
LONGEST = 4_000  # characters
UNKNOWN_NAME = b"26000"  # invalid_sql_statement_name
RESULT_CHANGED = b"RevalidateCachedQuery"  # the function that says "cached plan must not change result type"

_VERBS = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ")
_VALUES = re.compile(r"(?:\bIN|\bVALUES) \(%s(?:, %s)*\)|(?:[=<>]|\bLIKE) %s(?![\w%])")
_DOUBTFUL = re.compile(r"['$;%]|--|/\*")
_BARE = 0  # the type of NULL, and of a quoted word until something says what it is
# By the type that psycopg gives a value, that of its literal: a small number is an int4 to PostgreSQL.
_LITERALS = {_BARE: _BARE} | {
    builtin[name].oid: builtin["int4" if name == "int2" else name].oid
    for name in ("int2", "int4", "int8", "numeric", "bool", "uuid", "date", "timestamptz")
}
_NEVER = -1
ERROR = int(ExecStatus.FATAL_ERROR)  # as a number, since libpq's come as such

Key = tuple[str, tuple[int, ...]]
"""A statement, and the types that psycopg gives its values."""


class Wanted(NamedTuple):
    """A statement to prepare: by which name, with what types of its values."""

    name: bytes
    text: bytes
    types: Sequence[int]


class Prepared(NamedTuple):
    """A statement that the session has, and the values for it, as text: that fits any width of a number."""

    name: bytes
    values: Sequence[Buffer | None]


class Statements:
    """What one session knows of one tenant's statements."""

    def __init__(self) -> None:
        self._runs: dict[str, int] = {}
        self._names: dict[Key, bytes] = {}
        self._wanted: dict[Key, Wanted] = {}
        self.lost = False  # the session has them no more, or not as they were

    def prepared(self, query: str, params: Params, transformer: Transformer) -> Prepared | None:
        """The statement as the session has it; None: say it with literals. Counts, and asks for what is said often."""
        runs = self._runs.get(query, 0)
        if runs < OFTEN:
            if runs != _NEVER:
                self._count(query, runs)
            return None
        if not isinstance(params, tuple | list):
            return None
        values = transformer.dump_sequence(params, [PyFormat.TEXT] * len(params))
        key = query, transformer.types or ()
        name = self._names.get(key)
        if name is not None:
            return Prepared(name, values)
        if key not in self._wanted:
            if len(self._names) + len(self._wanted) < MOST_PREPARED:
                self._want(key, transformer)
            else:
                self._runs[query] = _NEVER
        return None

    @property
    def wanted(self) -> list[Wanted]:
        """What to prepare as soon as a transaction begins; the others with the next ones, since somebody waits."""
        return list(self._wanted.values())[:AT_ONCE]

    def answered(self, well: Iterable[bool]) -> None:
        """Of each that was wanted, whether the session has it now."""
        for key, is_there in zip(list(self._wanted), well, strict=False):
            wanted = self._wanted.pop(key)
            if is_there:
                self._names[key] = wanted.name
            else:
                self._runs[key[0]] = _NEVER

    def _want(self, key: Key, transformer: Transformer) -> None:
        query, given = key
        types = [_LITERALS.get(oid, _NEVER) for oid in given]
        if _NEVER in types:
            self._runs[query] = _NEVER
            return
        text = PostgresQuery(transformer)
        text.convert(query, [None] * len(given))
        self._wanted[key] = Wanted(new_name(), text.query, types)

    def _count(self, query: str, runs: int) -> None:
        if len(self._runs) >= MOST_KNOWN:
            self._runs.clear()  # what is prepared stays so, and is counted anew
        self._runs[query] = runs + 1 if is_preparable(query) else _NEVER


def new_name() -> bytes:
    """For a prepared statement: nobody can guess it, or have something under it already."""
    return f"tenure_{secrets.token_hex(16)}".encode()


def is_lost(results: Sequence[PGresult]) -> bool:
    """Whether a prepared statement failed because the session has it no more, or not with these columns."""
    if not results or results[-1].status != ERROR:
        return False
    code, function = map(results[-1].error_field, (DiagnosticField.SQLSTATE, DiagnosticField.SOURCE_FUNCTION))
    return code == UNKNOWN_NAME or function == RESULT_CHANGED


@lru_cache(maxsize=1_024)
def is_preparable(query: str) -> bool:
    """Whether a parameter in the place of each value means what the value's literal does."""
    return len(query) <= LONGEST and query.startswith(_VERBS) and _DOUBTFUL.search(_VALUES.sub("", query)) is None
