"""One person's rows within a tenant's schema: which they are, and what becomes of them by their table's word.

# Note [Whom the walk follows]
From rows that go to whatever refers to them, since that cannot stay as it is; and from rows that are the person's by
`subject` although they stay: who keeps a customer's row still has the customer's orders. Not from a row that merely
speaks of somebody, or is somebody's by a reference, and stays: a project whose description names Ada, or that she
owns, is full of documents that are not hers. Nor within one table: who reports to her is another person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from provisioning.databases import pooling, space
from provisioning.databases.erasing.catalog import Reference, Table, holds_one, references_of, tables_of
from provisioning.databases.erasing.fields import Sealed, opened_text, sealed_columns, written
from provisioning.databases.servers import Connection, run
from tenants.classification import Blank, Delete, OfPeople, Policy
from tenants.context import TenantContext, tenant_scope
from tenants.states import Tier


@dataclass(frozen=True, slots=True)
class Person:
    """(kind, value) of each identifier, and the texts that are looked for. Never logged, never printed."""

    identifiers: tuple[tuple[str, str], ...] = field(repr=False)
    needles: tuple[str, ...] = field(repr=False)

    def values(self, kinds: Iterable[str]) -> list[str]:
        wanted = set(kinds)
        return [value.strip().lower() for kind, value in self.identifiers if kind in wanted]


@dataclass(frozen=True, slots=True)
class Rows:
    """By table, the addresses of a person's rows; of a table to be blanked, `open` has those that are not yet."""

    found: Mapping[str, tuple[str, ...]]
    open: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Search:
    """A look through one schema for one person. `connection` sees the tenant's rows, `context` opens what is sealed."""

    connection: Connection
    context: TenantContext
    policies: Mapping[str, Policy]
    tables: Mapping[str, Table]
    references: tuple[Reference, ...]
    sealed: Sealed

    @classmethod
    def through(cls, connection: Connection, context: TenantContext, policies: Mapping[str, Policy]) -> Search:
        tables = tables_of(connection, context.schema)
        references = references_of(connection, context.schema)
        return cls(connection, context, policies, tables, tuple(references), sealed_columns())

    def rows_of(self, person: Person) -> Rows:
        """Seeds first, then what refers to them, until nothing new does. See Note [Whom the walk follows]."""
        found: dict[str, dict[str, None]] = {}
        led: dict[str, list[str]] = {}
        for table, word in self._of_people():
            theirs, speaking = self._seeds(table, word, person)
            found[table] = dict.fromkeys([*theirs, *speaking])
            led[table] = list(found[table]) if isinstance(word, Delete) else theirs
        while led := {table: rows for table, rows in led.items() if rows}:
            reached: dict[str, list[str]] = {}
            for reference in self.references:
                if reference.referred in led and self._follows(reference):
                    known = found[reference.referring]
                    more = dict.fromkeys(row for row in self._referring(reference, led) if row not in known)
                    known.update(more)
                    if isinstance(self.policies[reference.referring], Delete):
                        reached.setdefault(reference.referring, []).extend(more)
            led = reached
        rows = {table: tuple(each) for table, each in found.items()}
        return Rows(rows, {table: self._still_open(table, each) for table, each in rows.items()})

    def leaves_first(self) -> list[str]:
        return space.leaves_first(list(self.tables), {(each.referring, each.referred) for each in self.references})

    def barred(self, rows: Rows) -> list[Reference]:
        """References to rows that go, from rows that stay and will not let go of them."""
        return [
            each
            for each in self.references
            if isinstance(self.policies.get(each.referred), Delete)
            and self._stays(each)
            and (doomed := rows.found.get(each.referred))
            and self._referring(each, {each.referred: doomed})
        ]

    def unreadable(self, table: str) -> int:
        """How many sealed values of the table do not open, and so could not be searched."""
        return sum(value is None for column in self.sealed.get(table, {}) for _row, value in self.opened(table, column))

    def opened(self, table: str, column: str) -> list[tuple[str, str | None]]:
        """(address, lower-case text) of each sealed value, None where it does not open; of no column, nothing."""
        if table not in self.tables or column not in self.tables[table].columns:
            return []
        field_, whose = self.sealed[table][column], self._own(table)
        question = sql.SQL("SELECT ctid::text, {}, {} FROM {} WHERE {} IS NOT NULL AND {}").format(
            sql.Identifier(str(field_.key.column)),
            sql.Identifier(column),
            self.name(table),
            sql.Identifier(column),
            whose,
        )
        values = self.connection.execute(question).fetchall()
        with tenant_scope(self.context):
            return [(str(row), opened_text(field_, key, value)) for row, key, value in values]

    def values(self, table: str, column: str) -> list[str]:
        """What stands in a column, each value once, sealed ones opened."""
        if column in self.sealed.get(table, {}):
            return list(dict.fromkeys(text for _row, text in self.opened(table, column) if text))
        if column not in self.tables[table].columns:
            return []
        question = sql.SQL("SELECT DISTINCT {0}::text FROM {1} WHERE {0} IS NOT NULL AND {2}").format(
            sql.Identifier(column), self.name(table), self._own(table)
        )
        return [str(value) for (value,) in self.connection.execute(question).fetchall()]

    def name(self, table: str) -> sql.Identifier:
        return sql.Identifier(self.context.schema, table)

    def hits(self, table: str, needles: tuple[str, ...]) -> dict[str, set[str]]:
        """Column → addresses of rows in which it holds one of the texts."""
        found: dict[str, set[str]] = {}
        sealed = self.sealed.get(table, {})
        plain = [column for column in self.tables[table].wordy if column not in sealed]
        if plain and needles:
            each = [holds_one(column, self.tables[table].columns[column]) for column in plain]
            question = sql.SQL(
                "SELECT * FROM (SELECT ctid::text, ARRAY[{}] AS hit FROM {} WHERE {}) AS s WHERE true = ANY (hit)"
            )
            asked = question.format(sql.SQL(", ").join(each), self.name(table), self._own(table))
            for row, flags in self.connection.execute(asked, {"needles": list(needles)}).fetchall():
                for column, hit in zip(plain, flags, strict=True):
                    if hit:
                        found.setdefault(column, set()).add(str(row))
        for column in sealed:
            for row, text in self.opened(table, column):
                if text is not None and any(needle in text for needle in needles):
                    found.setdefault(column, set()).add(row)
        return found

    def _of_people(self) -> list[tuple[str, OfPeople]]:
        return [(name, word) for name in self.tables if isinstance(word := self.policies.get(name), OfPeople)]

    def _follows(self, reference: Reference) -> bool:
        return reference.referring != reference.referred and isinstance(
            self.policies.get(reference.referring), OfPeople
        )

    def _stays(self, reference: Reference) -> bool:
        word = self.policies.get(reference.referring)
        if isinstance(word, Blank):
            return not any(own in word.columns for own, _other in reference.pairs)
        return not isinstance(word, Delete)

    def _own(self, table: str) -> sql.Composable:
        if not self.tables[table].pooled or self.context.tier != Tier.POOL:
            return sql.SQL("true")
        return sql.SQL("{} = {}").format(sql.Identifier(pooling.TENANT_ID), sql.Literal(self.context.tenant_id))

    def _seeds(self, table: str, word: OfPeople, person: Person) -> tuple[list[str], list[str]]:
        """Rows by their `subject`, and rows by what they mention."""
        columns, sealed = self.tables[table].columns, self.sealed.get(table, {})
        equal, mentioned = list[sql.Composable](), list[sql.Composable]()
        given: dict[str, Any] = {"needles": list(person.needles)}
        theirs, speaking = list[str](), list[str]()
        for n, column in enumerate(each for each in word.subject if each in columns):
            wanted = person.values(word.kinds_of(column))
            if column in sealed:
                theirs += [row for row, text in self.opened(table, column) if text in wanted]
            elif wanted:
                given[f"s{n}"] = wanted
                equal.append(sql.SQL(f"lower({{}}::text) = ANY (%(s{n})s)").format(sql.Identifier(column)))
        for column in (each for each in word.mentions if each in columns):
            if column in sealed:
                texts = self.opened(table, column)
                speaking += [row for row, text in texts if text and any(each in text for each in person.needles)]
            elif person.needles:
                mentioned.append(holds_one(column, columns[column] or "text"))
        for tests, rows in ((equal, theirs), (mentioned, speaking)):
            if tests:
                question = sql.SQL("SELECT ctid::text FROM {} WHERE {} AND ({})")
                asked = question.format(self.name(table), self._own(table), sql.SQL(" OR ").join(tests))
                rows += [str(row) for (row,) in self.connection.execute(asked, given).fetchall()]
        return theirs, speaking

    def _referring(self, reference: Reference, to: Mapping[str, Iterable[str]]) -> list[str]:
        pairs = sql.SQL(" AND ").join(
            sql.SQL("own.{} = other.{}").format(sql.Identifier(own), sql.Identifier(other))
            for own, other in reference.pairs
        )
        question = sql.SQL(
            "SELECT own.ctid::text FROM {} AS own JOIN {} AS other ON {} WHERE other.ctid = ANY (%s::tid[])"
        )
        asked = question.format(self.name(reference.referring), self.name(reference.referred), pairs)
        return [str(row) for (row,) in run(self.connection, asked, list(to[reference.referred]))]

    def _still_open(self, table: str, rows: tuple[str, ...]) -> tuple[str, ...]:
        word = self.policies[table]
        if not isinstance(word, Blank):
            return rows
        values = {f"v{n}": written(value) for n, value in enumerate(word.columns.values())}
        differs = sql.SQL(" OR ").join(
            sql.SQL(f"{{}}::text IS DISTINCT FROM %(v{n})s").format(sql.Identifier(column))
            for n, column in enumerate(word.columns)
        )
        question = sql.SQL("SELECT ctid::text FROM {} WHERE ctid = ANY (%(rows)s::tid[]) AND ({})")
        asked = question.format(self.name(table), differs)
        found = self.connection.execute(asked, {**values, "rows": list(rows)}).fetchall()
        return tuple(str(row) for (row,) in found)
