"""ON CONFLICT names the columns of a unique index, and in a pool every such index begins with the tenant.

Only what is code is looked at: literals, quoted names, dollar quotes and comments pass as they are (PostgreSQL 18,
"Lexical Structure"). `ON CONFLICT DO NOTHING` and `ON CONFLICT ON CONSTRAINT …` need no change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from psycopg.abc import Query

COLUMN = "tenant_id"
LONGEST_KEPT = 4_000  # characters of a statement: an upsert of many rows is written anew each time

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\* )
    | (?P<blank>   \s+ )
    | (?P<text>    [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' )
    | (?P<dollar>  \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? \$(?P=tag)\$ )
    | (?P<name>    "(?:[^"]|"")*" )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<number>  \d\w* )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def pooled_query(query: Query, context: Any) -> Query:
    """The query as a pool needs it: itself, but for a conflict target. `context`: the cursor, to compose with."""
    if isinstance(query, str):
        text = query
    elif isinstance(query, bytes):
        text = query.decode()
    elif isinstance(query, sql.Composable):
        text = query.as_string(context)
    else:
        return query
    if text.startswith("SELECT") and ";" not in text:  # most statements, and none of these inserts
        return query
    if "conflict" not in text.lower():
        return query
    return _kept(text) if len(text) <= LONGEST_KEPT else with_tenant_in_targets(text)


def with_tenant_in_targets(text: str) -> str:
    """`ON CONFLICT (a, lower(b))` becomes `ON CONFLICT (tenant_id, a, lower(b))`, wherever that is said."""
    return "".join(_pieces(text))


_kept = lru_cache(maxsize=512)(with_tenant_in_targets)


def _pieces(text: str) -> Iterator[str]:
    heard = ""  # how far we have heard `on conflict (`
    for kind, token in _tokens(text):
        if kind not in {"blank", "comment"}:
            said = token.lower()
            if heard == "on conflict (" and token.strip('"') != COLUMN:
                yield f"{COLUMN}, "
            heard = _NEXT.get((heard, said), "on" if said == "on" else "")
        yield token


_NEXT = {("on", "conflict"): "on conflict", ("on conflict", "("): "on conflict ("}


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """The whole text in pieces, each with its kind."""
    at = 0
    while (match := _TOKEN.match(text, at)) is not None:
        end = _end_of_comment(text, at) if match.group() == "/*" else match.end()
        yield match.lastgroup or "", text[at:end]
        at = end


def _end_of_comment(text: str, start: int) -> int:
    """Comments nest; one without an end takes the rest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
