"""What a walk told, as acts: each statement alone, in order, with who runs it.

# Note [Statements stand alone]
Django sends several statements in one text here and there (`UPDATE …; SET CONSTRAINTS ALL IMMEDIATE`). Rows are each
tenant's, and the shape is a pool's own, so they go apart; and a statement that fails is then named by itself.
Left out is what sets the session: who replays a path says whose names and whose rights hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from provisioning.databases.pooling.compiler import is_data
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.refusals import REFUSALS
from provisioning.databases.pooling.syntax import Statement, statements
from provisioning.databases.statements import DATA_WORDS, Kind, first_words, kind_of

DDL, DML, PYTHON = "ddl", "dml", "python"
_OF_THE_WALKER = frozenset({"search_path", "role", "session_authorization"})
_SHAPELESS = DATA_WORDS | {"SET", "RESET", "SHOW", "LOCK", "EXPLAIN", "DECLARE", "FETCH", "CLOSE"}
_ENDS_THE_TRANSACTION = frozenset({"transaction_stmt", "discard_stmt"})


@dataclass(frozen=True, slots=True)
class Act:
    """See ReleasePath. `changes`: the statements by which Python changed the shape, when it ran."""

    kind: str
    text: str
    position: int
    operation: str
    description: str
    changes: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        names = ("kind", "text", "position", "operation", "description")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Step:
    """One migration of a path."""

    app: str
    name: str
    atomic: bool
    unapply: bool
    replaces: list[list[str]]
    acts: list[Act]

    @property
    def label(self) -> str:
        return f"{self.app}.{self.name}"

    def row(self, acts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """As a path keeps it, with these acts instead of its own if they are given."""
        return {
            **{name: getattr(self, name) for name in ("app", "name", "atomic", "unapply", "replaces")},
            "acts": [each.row() for each in self.acts] if acts is None else acts,
        }


def step_of(event: dict[str, Any], *, unapply: bool) -> Step:
    """From what the walker told of one migration. Raises CannotPool for what nobody can replay, pool or not."""
    acts = [act for operation in event["operations"] for act in _acts_of(operation)]
    return Step(event["app"], event["name"], event["atomic"], unapply, event["replaces"], acts)


def _acts_of(operation: dict[str, Any]) -> Iterator[Act]:
    where = operation["position"], operation["operation"], operation["description"]
    if operation["python"]:
        yield Act(PYTHON, "", *where, [text for text in operation["statements"] if _changes_shape(text)])
    else:
        for text in operation["statements"]:
            for kind, statement in _apart(text):
                yield Act(kind, statement, *where)


def _changes_shape(text: str) -> bool:
    return not _SHAPELESS.issuperset(first_words(text))


def _apart(text: str) -> Iterator[tuple[str, str]]:
    """The statements of a text, with the kind of act that each is."""
    try:
        found = list(statements(text))
    except CannotPool:  # a grammar newer than the parser's: as it stands, whole
        yield (DML if kind_of([text]) == Kind.DATA else DDL), text
        return
    for each in found:
        if each.kind in _ENDS_THE_TRANSACTION:
            raise each.refuse(*REFUSALS["transaction_stmt"])
        if not _sets_session(each):
            yield (DML if is_data(each) else DDL), each.text


def _sets_session(statement: Statement) -> bool:
    return statement.kind == "variable_show_stmt" or (
        statement.kind == "variable_set_stmt" and (not statement.node.name or statement.node.name in _OF_THE_WALKER)
    )
