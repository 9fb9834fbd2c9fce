"""The statements of one SQL file, and what it says of itself in the lines it begins with."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from provisioning.databases.pooling.compiler import DATA, is_data
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.syntax import Statement, statements
from provisioning.databases.sqlfiles.errors import (
    FileUnreadable,
    MarkerUnknown,
    NotTheFilesOwn,
    OtherSchema,
    PsqlCommand,
    RowsUnmarked,
    SqlRefused,
    TransactionControl,
)
from provisioning.databases.sqlfiles.schemas import KEPT_TABLES, schemas_named, tables_named

DATA_MARKER, OUTSIDE_MARKER = "data", "not in a transaction"

_MARKER = re.compile(r"^--\s*tenure:\s*(?P<word>.*?)\s*$")
_PSQL = re.compile(r"^\s*(?P<line>\\\S*)|(?P<end>\\g\w*)", re.MULTILINE)
_COMMENTS = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
# Beside DATA: what is of both kinds, or of neither.
_WITH_ROWS = frozenset({"do_stmt", "truncate_stmt", "lock_stmt", "constraints_set_stmt", "variable_set_stmt"})
_TRANSACTIONS = frozenset({"transaction_stmt", "discard_stmt"})
_SCHEMAS = frozenset({"create_schema_stmt", "alter_object_schema_stmt"})
_EXTENSIONS = frozenset({"create_extension_stmt", "alter_extension_stmt"})


@dataclass(frozen=True, slots=True)
class Line:
    """One statement, and the line of its file on which it begins."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """`atomic`: its statements run in one transaction. `data`: they are about rows, and run once for each tenant."""

    atomic: bool
    data: bool
    lines: tuple[Line, ...]


@lru_cache(maxsize=256)  # a published text is read again for each path
def script_of(name: str, text: str) -> Script:
    """The file `name` as it reads. Raises SqlRefused, which names the file and the line."""
    markers = _markers(name, text)
    try:
        found = list(statements(text))
    except CannotPool as error:
        raise _unreadable(name, text, error.reason) from error
    script = Script(
        OUTSIDE_MARKER not in markers,
        DATA_MARKER in markers,
        tuple(Line(number, each.text) for number, each in zip(_numbers(text, found), found, strict=True)),
    )
    for line, statement in zip(script.lines, found, strict=True):
        for rule in RULES:
            if refused := rule(statement, script):
                kind, said = refused
                raise kind(f"{name}, line {line.number}: {said}", file=name, line=line.number)
    return script


def _markers(name: str, text: str) -> set[str]:
    found: set[str] = set()
    at_head = True
    for number, line in enumerate(text.split("\n"), 1):
        marker = _MARKER.match(line)
        at_head = at_head and (not line.strip() or line.startswith("--"))
        if marker is None:
            continue
        if not at_head or marker["word"] not in {DATA_MARKER, OUTSIDE_MARKER}:
            raise MarkerUnknown(f"{name}, line {number}: `{line.strip()}` says nothing here.", file=name, line=number)
        found.add(marker["word"])
    return found


def _unreadable(name: str, text: str, reason: str) -> SqlRefused:
    if command := _PSQL.search(text):
        number = text.count("\n", 0, command.start(command.lastgroup or 0)) + 1
        said = f"{name}, line {number}: {command[0].strip()} is a command of psql."
        return PsqlCommand(said, file=name, line=number)
    return FileUnreadable(f"{name}: {reason}", file=name)


def _numbers(text: str, found: list[Statement]) -> list[int]:
    """Of the line on which each statement begins, comments above it left out."""
    numbers, at = [], 0
    for statement in found:
        start = text.index(statement.text, at)
        comments = _COMMENTS.match(statement.text)
        numbers.append(text.count("\n", 0, start + (comments.end() if comments else 0)) + 1)
        at = start + len(statement.text)
    return numbers


Refused = tuple[type[SqlRefused], str] | None
Rule = Callable[[Statement, Script], Refused]


def _transaction(statement: Statement, _script: Script) -> Refused:
    if statement.kind in _TRANSACTIONS:
        return TransactionControl, "A file's transaction is opened and closed by who runs it."
    return None


def _concurrent(statement: Statement, script: Script) -> Refused:
    if script.atomic and getattr(statement.node, "concurrent", False) is True:
        return TransactionControl, "CONCURRENTLY is no part of a transaction."
    return None


def _schema(statement: Statement, _script: Script) -> Refused:
    if statement.kind in _SCHEMAS:
        return OtherSchema, "A tenant has one schema, and it is there already."
    if found := next(schemas_named(statement), None):
        return OtherSchema, f"It names the schema {found}."
    return None


def _not_its_own(statement: Statement, _script: Script) -> Refused:
    if statement.kind in _EXTENSIONS:
        return NotTheFilesOwn, "An extension belongs to a database, which tenants share."
    if kept := KEPT_TABLES.intersection(tables_named(statement)):
        return NotTheFilesOwn, f"{min(kept)} is where Tenure keeps which files have run."
    if statement.kind == "copy_stmt":
        return NotTheFilesOwn, "COPY reads a file of the server's, or what a client sends; write INSERT."
    if statement.kind == "variable_set_stmt" and (
        not statement.node.is_local or statement.node.name in {"role", "session_authorization"}
    ):
        return NotTheFilesOwn, "A setting outlives the file; SET LOCAL ends with it, and rights are not a file's."
    return None


def _rows(statement: Statement, script: Script) -> Refused:
    if script.data and statement.kind not in DATA | _WITH_ROWS:
        return RowsUnmarked, "The file is marked as one about rows, and this is about tables."
    if not script.data and is_data(statement):
        return RowsUnmarked, "The file is about tables, and this is about rows."
    return None


RULES: tuple[Rule, ...] = (_transaction, _concurrent, _schema, _not_its_own, _rows)
