"""Which statements change shape and which change rows."""

from collections.abc import Iterable
from enum import StrEnum

import sqlparse
from sqlparse.sql import Statement


class Kind(StrEnum):
    """Schema statements are replayed as they stand. Data runs per tenant, as that tenant. Mixed holds both."""

    SCHEMA = "schema"
    DATA = "data"
    MIXED = "mixed"


# First words. A DO block or a function called by SELECT may do either; data is the careful reading of both.
_DATA = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "TRUNCATE", "SELECT", "CALL", "DO", "VALUES"})


def kind_of(statements: Iterable[str]) -> Kind:
    """The kind of all statements together; each text may hold several. Nothing at all counts as schema."""
    kinds = {
        Kind.DATA if _first_word(part) in _DATA else Kind.SCHEMA
        for text in statements
        for part in sqlparse.parse(text)
        if _first_word(part)
    }
    if len(kinds) == len((Kind.SCHEMA, Kind.DATA)):
        return Kind.MIXED
    return kinds.pop() if kinds else Kind.SCHEMA


def _first_word(statement: Statement) -> str:
    """INSERT for `WITH … INSERT`, too; empty for a lone comment or semicolon."""
    word = str(statement.get_type()).upper()  # type: ignore[no-untyped-call]  # sqlparse types little
    if word != "UNKNOWN":
        return word
    first = statement.token_first(skip_ws=True, skip_cm=True)  # type: ignore[no-untyped-call]
    return "" if first is None or first.value == ";" else str(first.value).split()[0].upper()
