"""Which statements change shape and which change rows."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from sqlparse import tokens
from sqlparse.engine import FilterStack


class Kind(StrEnum):
    """Schema statements are replayed as they stand. Data runs per tenant, as that tenant. Mixed holds both."""

    SCHEMA = "schema"
    DATA = "data"
    MIXED = "mixed"


# A DO block, or a function called by SELECT, may do either; data is the careful reading of both. WITH introduces rows.
DATA_WORDS = frozenset(
    {"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "TRUNCATE", "SELECT", "WITH", "VALUES", "CALL", "DO"}
)


def kind_of(statements: Iterable[str]) -> Kind:
    """The kind of all statements together; each text may hold several. Nothing at all counts as schema."""
    kinds = {Kind.DATA if word in DATA_WORDS else Kind.SCHEMA for text in statements for word in first_words(text)}
    if kinds == {Kind.SCHEMA, Kind.DATA}:
        return Kind.MIXED
    return kinds.pop() if kinds else Kind.SCHEMA


def first_words(text: str) -> Iterator[str]:
    """Of each statement in the text, in capitals. Split but not grouped: grouping has a limit on their length."""
    for statement in FilterStack().run(text):  # type: ignore[no-untyped-call]  # sqlparse types little
        for token in statement.flatten():
            if not (token.is_whitespace or token.ttype in tokens.Comment or token.value in {";", "("}):
                yield str(token.value).split()[0].upper()
                break
