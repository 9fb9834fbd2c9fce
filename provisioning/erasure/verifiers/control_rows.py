"""What is left of a tenant in the control database, table by table of its live catalog.

Whose a row is follows from the foreign keys that the database has, not from a list; what must be empty, from the
classification. What nobody classified is named, and blocks.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.utils import timezone
from psycopg import sql

from provisioning.erasure.control_data import CLOSED, CONTROL, UNIQUE
from provisioning.erasure.naming import WORDS
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.looking import Connection, is_runtime, looking_into, unreadable
from tenants.classification import Blank, Delete, Retain
from tenants.findings import Finding

TENANT, RUN, EVENT = "tenants_tenant", "provisioning_run", "tenants_event"
OUR_WORKFLOWS = "erase|erasure|tombstone"  # the record of the erasure itself, in the names of its workflows
HOLD_TEXT = frozenset("text varchar bpchar citext jsonb json bytea inet cidr name xml _text _varchar".split())
OPEN_RELATIONS = """
SELECT format('%s', CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END) AS name,
       array_agg(a.attname ORDER BY a.attnum) AS columns, array_agg(t.typname ORDER BY a.attnum) AS types
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
GROUP BY n.nspname, c.relname ORDER BY 1
"""
REFERENCES = """
SELECT k.conrelid::regclass::text, a.attname, k.confrelid::regclass::text FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
"""
LOGS = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Relation:
    """One table of the live catalog. `owner` is SQL for the tenant of a row `t`, where a foreign key leads to one."""

    name: str
    columns: dict[str, str]
    owner: str | None

    @property
    def texts(self) -> list[str]:
        return [name for name, kind in self.columns.items() if kind in HOLD_TEXT]

    @property
    def text(self) -> sql.Composable:
        """SQL for everything in a row `t` that somebody may have written."""
        columns = [name for name in self.texts if name not in CLOSED.get(self.name, ())]
        listed = [_as_text(name, self.columns[name]) for name in columns] or [sql.SQL("''")]
        return sql.SQL("lower(concat_ws(E'\\n', {}))").format(sql.SQL(", ").join(listed))

    @property
    def unclassified(self) -> list[str]:
        if (policy := CONTROL.get(self.name)) is None:
            return [f"control:{self.name}"]
        if not isinstance(policy, Blank):
            return []
        named = {*policy.columns, *CLOSED.get(self.name, ())}
        return [f"control:{self.name}.{column}" for column in self.texts if column not in named]


class ControlRowsVerifier:
    """Counts rows that are the tenant's and not blank, and rows of nobody's in which an identifier stands."""

    store = "control_rows"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        with looking_into(settings.VERIFIER_URL) as connection:
            relations = _relations(connection)
        open_places = tuple(place for relation in relations for place in relation.unclassified)
        covered = tuple(f"control:{relation.name}" for relation in relations if relation.name in CONTROL)
        return Coverage(covered, unclassified=open_places)

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        return ()

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """A tally a table that is to be deleted from or blanked, and one for any other in which a name was found."""
        with looking_into(settings.VERIFIER_URL) as connection:
            return tuple(_counted(connection, _relations(connection), scope))

    def control(self, scope: Scope) -> Control:
        """Another role than the one that erases may read every table whole, and finds the tenant's own skeleton."""
        with looking_into(settings.VERIFIER_URL) as connection:
            if is_runtime(connection, "default"):
                return Control(ok=False, method="the verifier has the role that erases: set VERIFIER_URL")
            hidden, all_tables = unreadable(connection), len(_relations(connection))
            found = connection.execute(f"SELECT 1 FROM {TENANT} WHERE id = %s", (scope.tenant_id,)).fetchone()
        seen = f"row_security off; {all_tables - len(hidden)} of {all_tables} tables readable"
        return Control(not hidden and found is not None, f"{seen}; the tenant's row seen: {found is not None}")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return (
            Residue("logs of the control plane's processes", "as long as they are kept", timezone.now() + LOGS),
            Residue("dead rows and write-ahead log of the control database", "until vacuum and its backups' end", None),
        )


def _relations(connection: Connection) -> list[_Relation]:
    leads = [tuple(row) for row in connection.execute(REFERENCES)]
    direct = {table: f"t.{column}" for table, column, target in leads if target == TENANT}
    owners = {
        **{
            table: f"(SELECT p.tenant_id FROM {RUN} p WHERE p.id = t.{column} AND p.workflow !~ '{OUR_WORKFLOWS}')"
            for table, column, target in leads
            if target == RUN
        },
        **direct,
        RUN: f"CASE WHEN t.workflow !~ '{OUR_WORKFLOWS}' THEN t.tenant_id END",
        TENANT: "t.id",
        EVENT: "(SELECT t.tenant_id WHERE split_part(t.type, '.', 1) NOT IN ('operation', 'erasure') AND NOT EXISTS"
        f" (SELECT FROM {RUN} p WHERE p.id = t.operation AND p.workflow ~ '{OUR_WORKFLOWS}'))",
        "django_admin_log": f"(SELECT p.id FROM {TENANT} p WHERE p.id = (CASE WHEN length(t.object_id) = 36"
        " AND pg_input_is_valid(t.object_id, 'uuid') THEN t.object_id::uuid END))",
    }
    return [
        _Relation(name, dict(zip(columns, types, strict=True)), owners.get(name))
        for name, columns, types in connection.execute(OPEN_RELATIONS)
    ]


def _counted(connection: Connection, relations: list[_Relation], scope: Scope) -> Iterator[Tally]:
    needles = _Needles.of(scope)
    for relation in relations:
        policy = CONTROL.get(relation.name)
        if policy is None or isinstance(policy, Retain):
            continue
        erased = isinstance(policy, Delete | Blank)
        conditions = [needles.found_in(relation, words=erased)]
        if isinstance(policy, Delete | Blank) and relation.owner is not None and scope.kind == "tenant":
            conditions.append(_not_blank(relation, policy))
        query = sql.SQL("SELECT count(*) FROM {} t CROSS JOIN LATERAL (SELECT {} AS held OFFSET 0) s WHERE {}").format(
            sql.Identifier(*relation.name.split(".")), relation.text, sql.SQL(" OR ").join(conditions)
        )
        (n,) = connection.execute(query, needles.bound).fetchone() or (0,)
        if n or erased:
            yield Tally(f"control:{relation.name}", n, action="blank" if isinstance(policy, Blank) else "delete")


def _not_blank(relation: _Relation, policy: Delete | Blank) -> sql.Composable:
    mine = sql.SQL("({}) = %(tenant)s").format(sql.SQL(relation.owner or "NULL"))
    if isinstance(policy, Delete):
        return mine
    filled = [_is_filled(name, value) for name, value in policy.columns.items() if name in relation.columns]
    return sql.SQL("({} AND ({}))").format(mine, sql.SQL(" OR ").join(filled))


def _is_filled(column: str, value: Any) -> sql.Composable:
    """Neither empty nor exactly what blanking writes."""
    text = sql.SQL("coalesce(t.{}::text, '')").format(sql.Identifier(column))
    if value == UNIQUE:
        return sql.SQL("{} NOT SIMILAR TO 'erased-[0-9a-f]{{8}}'").format(text)
    written = json.dumps(value) if isinstance(value, dict | list) else value or ""
    return sql.SQL("{} NOT IN ('', {})").format(text, sql.Literal(written))


@dataclass(frozen=True, slots=True)
class _Needles:
    """What is searched for, bound on the server: whoever looks at the running statements reads no name.

    `words` are patterns and `parts` texts, as names of parameters in `bound`.
    """

    words: tuple[str, ...]
    parts: tuple[str, ...]
    bound: dict[str, Any]

    @classmethod
    def of(cls, scope: Scope) -> Self:
        forms = [(each.kind in WORDS, form) for each in scope.identifiers for form in _forms(each.value)]
        names = [f"{'word' if whole else 'part'}{n}" for n, (whole, _form) in enumerate(forms)]
        values = [f"(^|[^a-z0-9-]){_quoted(form)}($|[^a-z0-9-])" if whole else form for whole, form in forms]
        return cls(
            tuple(name for name in names if name.startswith("word")),
            tuple(name for name in names if name.startswith("part")),
            {"tenant": scope.tenant_id, **dict(zip(names, values, strict=True))},
        )

    def found_in(self, relation: _Relation, *, words: bool) -> sql.Composable:
        """Rows of the tenant's or of nobody's. Where words of ours are the content, only addresses are strange."""
        tests = [sql.SQL("strpos(s.held, {}) > 0").format(sql.Placeholder(name)) for name in self.parts]
        tests += [sql.SQL("s.held ~ {}").format(sql.Placeholder(name)) for name in self.words if words]
        if not tests:
            return sql.SQL("false")
        mine = sql.SQL("coalesce(({}) = %(tenant)s, true)").format(sql.SQL(relation.owner or "NULL::uuid"))
        return sql.SQL("({} AND ({}))").format(mine, sql.SQL(" OR ").join(tests))


def _as_text(column: str, kind: str) -> sql.Composable:
    form = "encode(t.{0}, 'escape'), encode(t.{0}, 'hex')" if kind == "bytea" else "t.{0}::text"
    return sql.SQL(form).format(sql.Identifier(column))


def _forms(value: str) -> set[str]:
    """In lower case: as a text, within JSON, and as bytes are shown, escaped and in hexadecimal."""
    plain = value.lower()
    escaped = "".join(
        chr(byte) if chr(byte).isascii() and byte != ord("\\") else f"\\{byte:o}" for byte in plain.encode()
    )
    return {plain, json.dumps(plain)[1:-1], escaped, value.encode().hex()}


def _quoted(text: str) -> str:
    """For a regular expression of PostgreSQL."""
    return "".join(char if char.isalnum() else f"\\{char}" for char in text)
