"""A tenant's rows of the control database: deleted or blanked, table by table, as control_data.py classifies them.

Rows that are the tenant's by an id go whole; rows of nobody's go, or lose the values that name it, where an identifier
is found in them. Rows of other tenants are never touched. The Tenant row stays, blank, as a skeleton: id, tier, dates.

# Note [What the erasure itself writes stays]
The operations of erasing are rows of the tenant, too. They hold ids and counts, they are read until the last re-check,
and the one that runs would pull the rug from under itself: they are left out, by the name of their workflow.
"""

import json
import re
from collections.abc import Mapping
from secrets import token_hex
from time import monotonic
from typing import Any, Literal

import psycopg
from django.db import connection, transaction
from psycopg import sql
from psycopg.types.json import Jsonb

from provisioning.erasure.control_data import CONTROL, ERASED, UNIQUE
from provisioning.erasure.naming import WORDS, identifiers_of
from provisioning.erasure.stores import Budget, Enumeration, Identifier, Kind, Lease, Progress, Scope
from tenants.classification import Blank, Delete

OURS = "r.workflow !~ '(erase|erasure|tombstone)'"  # see Note [What the erasure itself writes stays]
# An operation's end says the name of its workflow and no more, whichever it was.
NOT_OURS = (
    "t.type !~ '^(operation|erasure)[.]' AND NOT EXISTS"
    f" (SELECT FROM provisioning_run r WHERE r.id = t.operation AND NOT ({OURS}))"
)
OF_RUN = f"(SELECT r.tenant_id FROM provisioning_run r WHERE r.id = t.run_id AND {OURS})"
WHOSE: Mapping[str, str] = {
    "django_admin_log": "(SELECT x.id FROM tenants_tenant x WHERE x.id::text = t.object_id)",
    "provisioning_adopteddrift": "t.tenant_id",
    "provisioning_idempotencykey": OF_RUN,
    "provisioning_resource": "t.tenant_id",
    "provisioning_rollouttarget": "t.tenant_id",
    "provisioning_run": f"(SELECT r.tenant_id FROM provisioning_run r WHERE r.id = t.id AND {OURS})",
    "provisioning_runevent": OF_RUN,
    "provisioning_runstep": OF_RUN,
    "provisioning_legalhold": "t.tenant_id",
    "provisioning_schedule": "t.tenant_id",
    "provisioning_secret": "t.tenant_id",
    "tenants_domain": "t.tenant_id",
    "tenants_event": f"CASE WHEN {NOT_OURS} THEN t.tenant_id END",
    "tenants_tenant": "t.id",
}
"""The tenant of a row `t`, where its table knows one."""
ALSO: Mapping[str, str] = {
    "provisioning_resource": "state = 'removed', updated_at = now()",
    "tenants_tenant": "version = version + 1, updated_at = now()",
}
LAST = "tenants_tenant"  # until then a crash finds its names there


class ControlRowsEraser:
    """The last of phase 9: the run itself needed these rows until then."""

    store = "control_rows"
    phase = 9
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing of its own: the engine holds the tenant, so no other operation writes about it."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """`{"identifiers": [[kind, value]]}`: the names that the erasure blanks, and that its retry needs."""
        known = {*scope.identifiers, *(identifiers_of(scope.tenant_id) if scope.kind == "tenant" else ())}
        return Enumeration(self.store, {"identifiers": sorted([each.kind, each.value] for each in known)})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Table after table, at most `budget.items` rows each in a transaction. Sets shrink: there is no cursor."""
        named = {*scope.identifiers, *(Identifier(kind, value) for kind, value in found.items.get("identifiers", ()))}
        deleted = 0
        for table in sorted(CONTROL, key=lambda name: (name == LAST, name)):
            if not isinstance(CONTROL[table], Delete | Blank):
                continue
            while True:
                left = budget.items - deleted
                if left <= 0 or monotonic() > budget.until:
                    return Progress(deleted)
                with transaction.atomic():
                    lease()
                    went = _Table(table, scope, frozenset(named)).erase(limit=left)
                if not went:
                    break
                deleted += went
        return Progress(deleted, done=True)


class _Table:
    """One table, and the rows of it that are in the scope."""

    def __init__(self, table: str, scope: Scope, named: frozenset[Identifier]) -> None:
        self.name, self.scope, self.policy = table, scope, CONTROL[table]
        self.words = [each.value for each in named if each.kind in WORDS]
        self.parts = [each.value for each in named if each.kind not in WORDS]
        self.cursor = psycopg.Cursor(connection.connection)  # binds on the server: what is searched for shows nowhere

    def erase(self, *, limit: int) -> int:
        """At most `limit` rows. Returns how many went or were blanked; 0: none is left."""
        if not self._is_there():
            return 0
        if isinstance(self.policy, Delete):
            columns = [name for name, kind in self._columns().items() if kind in {"text", "varchar", "jsonb", "bytea"}]
            conditions = [each for each in (self._whose(), self._named(columns)) if each is not None]
            return self._do(
                sql.SQL("DELETE FROM {table} WHERE ctid IN (SELECT t.ctid FROM {table} t WHERE {which} LIMIT {limit})"),
                which=sql.SQL(" OR ").join(conditions) if conditions else sql.SQL("false"),
                limit=sql.Literal(limit),
            )
        return self._blank(limit) or self._redact(limit)

    def _is_there(self) -> bool:
        (found,) = self.cursor.execute("SELECT to_regclass(%s)", (f"public.{self.name}",)).fetchone() or (None,)
        return found is not None

    def _columns(self) -> dict[str, str]:
        rows = self.cursor.execute(
            "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped",
            (f"public.{self.name}",),
        )
        return dict(rows.fetchall())

    def _whose(self) -> sql.Composable | None:
        """The tenant's own rows, by an id. Of a person no row is known by an id."""
        if self.scope.kind == "subject" or self.name not in WHOSE:
            return None
        return sql.SQL("(({}) = {})").format(sql.SQL(WHOSE[self.name]), sql.Literal(self.scope.tenant_id))

    def _nobody_elses(self) -> sql.Composable:
        if self.name not in WHOSE:
            return sql.SQL("true")
        whose, mine = sql.SQL(WHOSE[self.name]), sql.Literal(self.scope.tenant_id)
        return sql.SQL("coalesce(({}) = {}, true)").format(whose, mine)

    def _named(self, columns: list[str]) -> sql.Composable | None:
        """Rows of the tenant's or of nobody's in which an identifier stands."""
        if not columns or not self._pattern():
            return None
        kinds = self._columns()
        texts = [
            sql.SQL("encode(t.{}, 'escape')" if kinds[name] == "bytea" else "t.{}::text").format(sql.Identifier(name))
            for name in columns
        ]
        text = sql.SQL(", ").join(texts)
        return sql.SQL("({} AND lower(concat_ws(E'\\n', {})) ~ %(pattern)s)").format(self._nobody_elses(), text)

    def _pattern(self) -> str:
        words = "|".join(form for word in self.words for form in _forms(word))
        parts = "|".join(form for part in self.parts for form in _forms(part))
        whole = [f"(^|[^a-z0-9-])({words})($|[^a-z0-9-])"] if words else []
        return "|".join([*whole, *([f"({parts})"] if parts else [])])

    def _blank(self, limit: int) -> int:
        """The tenant's own rows get the values of the classification."""
        if not isinstance(self.policy, Blank) or (mine := self._whose()) is None:
            return 0
        kinds = self._columns()
        values = {name: value for name, value in self.policy.columns.items() if name in kinds}
        also = sql.SQL(f", {ALSO[self.name]}" if self.name in ALSO else "")
        return self._do(
            sql.SQL(
                "UPDATE {table} SET {changes}{also}"
                " WHERE ctid IN (SELECT t.ctid FROM {table} t WHERE {mine} AND ({filled}) LIMIT {limit})"
            ),
            changes=sql.SQL(", ").join(_blanked(name, kinds[name], value) for name, value in values.items()),
            also=also,
            mine=mine,
            filled=sql.SQL(" OR ").join(_filled(name, kinds[name], value) for name, value in values.items()),
            limit=sql.Literal(limit),
        )

    def _redact(self, limit: int) -> int:
        """Rows of nobody's lose the texts in which an identifier stands, and keep the rest."""
        if not isinstance(self.policy, Blank):
            return 0
        kinds, blank = self._columns(), self.policy.columns
        columns = [name for name in blank if name in kinds]
        if (named := self._named(columns)) is None:
            return 0
        table, listed = sql.Identifier("public", self.name), sql.SQL(", ").join(map(sql.Identifier, columns))
        rows = self.cursor.execute(
            sql.SQL("SELECT t.ctid::text, {} FROM {} t WHERE {} LIMIT {} FOR UPDATE").format(
                listed, table, named, sql.Literal(limit)
            ),
            {"pattern": self._pattern()},
        ).fetchall()
        pattern = re.compile(self._pattern())
        change = sql.SQL("UPDATE {} SET {} WHERE ctid = %s::tid").format(
            table, sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
        )
        for place, *values in rows:
            kept = [
                _redacted(value, kinds[name], blank[name], pattern) for name, value in zip(columns, values, strict=True)
            ]
            self.cursor.execute(change, (*kept, place))
        return len(rows)

    def _do(self, statement: sql.SQL, **parts: sql.Composable) -> int:
        table = sql.Identifier("public", self.name)
        return int(self.cursor.execute(statement.format(table=table, **parts), {"pattern": self._pattern()}).rowcount)


def _forms(needle: str) -> set[str]:
    """As it stands in a text, in JSON, and in bytes that are shown as text; each as a pattern."""
    lowered = needle.lower()
    raw = "".join(chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in lowered.encode())  # noqa: PLR2004  printable
    return {re.escape(form) for form in (lowered, raw, json.dumps(lowered)[1:-1])}


def _blanked(column: str, kind: str, value: Any) -> sql.Composed:
    """What is empty stays empty: constraints say what must be filled, and what must not be."""
    name = sql.Identifier(column)
    if value == UNIQUE:
        return sql.SQL("{} = 'erased-' || left(md5(gen_random_uuid()::text), 8)").format(name)
    if kind == "jsonb":
        return sql.SQL("{0} = CASE WHEN {0} IS NOT NULL THEN {1}::jsonb END").format(name, json.dumps(value))
    return sql.SQL("{0} = CASE WHEN {0} = '' THEN {0} WHEN {0} IS NOT NULL THEN {1} END").format(name, value)


def _filled(column: str, kind: str, value: Any) -> sql.Composed:
    name = sql.SQL("t.{}").format(sql.Identifier(column))
    if value == UNIQUE:
        return sql.SQL("{} !~ '^erased-[0-9a-f]{{8}}$'").format(name)
    if value is None:
        return sql.SQL("{} IS NOT NULL").format(name)
    if kind == "jsonb":
        return sql.SQL("{} <> {}::jsonb").format(name, json.dumps(value))
    return sql.SQL("{} NOT IN ('', {})").format(name, value)


def _redacted(value: Any, kind: str, blank: Any, pattern: re.Pattern[str]) -> Any:
    if value is None:
        return None
    if kind == "jsonb":
        return Jsonb(_without(json.loads(value), pattern))  # Django's connections leave JSON as text
    if blank == UNIQUE and pattern.search(value.lower()):
        return f"{ERASED}-{token_hex(4)}"
    return _without(value, pattern)


def _without(value: Any, pattern: re.Pattern[str]) -> Any:
    """The value with each text in it that names somebody replaced as a whole."""
    if isinstance(value, dict):
        return {_without(name, pattern): _without(inner, pattern) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, pattern) for inner in value]
    if isinstance(value, str | int | float) and not isinstance(value, bool) and pattern.search(str(value).lower()):
        return ERASED
    return value
