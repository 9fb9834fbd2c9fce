"""What would make a schema its release's again, as statements that a person reads before they run.

Only what loses nothing that the release knows of: what is there too much is dropped, never with CASCADE; indexes,
constraints, defaults and NOT NULL are made again from the release's own lines. A column, a table or a function that is
missing or another is left to a person, since nobody knows what its rows would hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from provisioning.databases.fingerprint import by_name
from provisioning.databases.servers import Connection

# Each thing as a shape line names it, its kind, table and name, and what it goes with.
_THINGS = """
WITH relation AS (SELECT * FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s))
SELECT concat(kind, ' ', name), kind, of::text, own::text, goes::text, in_view FROM (
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
           relname::text, relname, relname, '', false
    FROM relation WHERE relkind IN ('r', 'v', 'm')
    UNION ALL
    SELECT 'column', r.relname || '.' || attname, r.relname, attname, '', relkind <> 'r' FROM relation r
    JOIN pg_attribute ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped WHERE relkind IN ('r', 'v', 'm')
    UNION ALL
    SELECT 'constraint', r.relname || '.' || conname, r.relname, conname, '', false FROM relation r
    JOIN pg_constraint ON conrelid = r.oid AND contype <> 'n'
    UNION ALL
    SELECT 'index', r.relname || '.' || x.relname, r.relname, x.relname, 'constraint ' || r.relname || '.' || k.conname,
           false
    FROM relation r JOIN pg_index ON indrelid = r.oid JOIN pg_class x ON x.oid = indexrelid
    LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.conrelid = r.oid AND k.contype <> 'f'
    UNION ALL
    SELECT 'trigger', r.relname || '.' || tgname, r.relname, tgname, '', false FROM relation r
    JOIN pg_trigger ON tgrelid = r.oid AND NOT tgisinternal
    UNION ALL
    SELECT 'rule', r.relname || '.' || rulename, r.relname, rulename, '', false FROM relation r
    JOIN pg_rewrite ON ev_class = r.oid AND rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', r.relname || '.' || polname, r.relname, polname, '', false FROM relation r
    JOIN pg_policy ON polrelid = r.oid
    UNION ALL
    SELECT 'sequence', s.relname::text, s.relname, s.relname, 'column ' || r.relname || '.' || attname, false
    FROM relation s LEFT JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = s.oid
        AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
    LEFT JOIN relation r ON r.oid = refobjid LEFT JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE s.relkind = 'S'
) AS thing (kind, name, of, own, goes, in_view)
"""
_DROP = {
    "trigger": "DROP TRIGGER {own} ON {schema}.{of}",
    "rule": "DROP RULE {own} ON {schema}.{of}",
    "policy": "DROP POLICY {own} ON {schema}.{of}",
    "view": "DROP VIEW {schema}.{own}",
    "materialized view": "DROP MATERIALIZED VIEW {schema}.{own}",
    "constraint": "ALTER TABLE {schema}.{of} DROP CONSTRAINT {own}",
    "index": "DROP INDEX {schema}.{own}",
    "column": "ALTER TABLE {schema}.{of} DROP COLUMN {own}",
    "sequence": "DROP SEQUENCE {schema}.{own}",
    "table": "DROP TABLE {own}",
}
"""How each kind goes, in the order in which nothing stands in the way of another."""
_HOLDERS = ("table", "view", "materialized view")
_KEYS = ("PRIMARY KEY", "UNIQUE", "EXCLUDE")
_FOREIGN = "FOREIGN KEY"


@dataclass(frozen=True, slots=True)
class Mend:
    """One statement as it would be sent. `loses`: something goes with it that nothing brings back."""

    statement: str
    loses: bool


@dataclass(frozen=True, slots=True)
class Mending:
    """The statements in order, and the names of what only a person can put right: with any, nothing is run."""

    statements: tuple[Mend, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Thing:
    kind: str
    of: str
    own: str
    goes: str
    in_view: bool


def mending(connection: Connection, schema: str, *, expected: list[str], found: list[str]) -> Mending:
    """From the lines found to the lines expected. Changes nothing."""
    rows = connection.execute(_THINGS, {"schema": schema}).fetchall()
    return _Mender(schema, {str(name): _Thing(*rest) for name, *rest in rows}, by_name(expected), by_name(found)).plan()


@dataclass(frozen=True, slots=True)
class _Mender:
    schema: str
    things: dict[str, _Thing]
    wanted: dict[str, str]
    there: dict[str, str]

    def plan(self) -> Mending:
        unexpected, missing = self.there.keys() - self.wanted.keys(), self.wanted.keys() - self.there.keys()
        drops = {name for name in unexpected if not self._goes_with(name, unexpected)}
        absent = {name for name in missing if not self._comes_with(name, missing)}
        other = {name for name in self.wanted.keys() & self.there.keys() if self.wanted[name] != self.there[name]}
        remade = {name for name in other if self._can_be_made_again(name)}
        other -= {name for name in other if name in self.things and self.things[name].goes in remade}
        makes = {name for name in absent if name.startswith(("constraint ", "index "))}
        changed = {name: list(self._change(name)) for name in other - remade}
        left = {name for name in drops if not self._can_be_dropped(name)} | (absent - makes)
        left |= {name for name, statements in changed.items() if not statements}
        return Mending(
            (
                *self._drops((drops - left) | remade, kept=remade),
                *(Mend(text, loses=False) for name in sorted(changed) for text in changed[name]),
                *(Mend(self._make(name), loses=False) for name in sorted(makes | remade, key=self._turn)),
            ),
            tuple(sorted(left)),
        )

    def _goes_with(self, name: str, unexpected: set[str]) -> bool:
        """Whether it goes when something else that is too much goes: a table's parts, a key's index, a sequence."""
        thing = self.things.get(name)
        if thing is None or thing.kind in _HOLDERS:
            return False
        owner = self.things.get(thing.goes)
        tables = {f"{kind} {each}" for each in (thing.of, owner.of if owner else "") for kind in _HOLDERS}
        return bool(tables & unexpected) or thing.goes in unexpected

    def _comes_with(self, name: str, missing: set[str]) -> bool:
        """Whether it is a part of a table that is missing, or the index of a key that is."""
        kind, _space, rest = name.partition(" ")
        for table in (each.removeprefix("table ") for each in missing if each.startswith("table ")):
            if rest.startswith(f"{table}.") or f"owned by {table}." in self.wanted[name]:
                return True
        key = f"constraint {rest}"
        return kind == "index" and key in missing and self.wanted[key].startswith(_KEYS)

    def _can_be_dropped(self, name: str) -> bool:
        thing = self.things.get(name)
        return thing is not None and thing.kind in _DROP and not thing.in_view

    def _can_be_made_again(self, name: str) -> bool:
        """A constraint, or an index of no constraint, whose line is all there is to it."""
        thing = self.things.get(name)
        return thing is not None and (thing.kind == "constraint" or (thing.kind == "index" and not thing.goes))

    def _drops(self, names: set[str], *, kept: set[str]) -> Iterator[Mend]:
        """Tables last and together, as they may refer to each other."""
        order = list(_DROP)
        tables = sorted(name for name in names if self.things[name].kind == "table")
        rest = names - set(tables)
        for name in sorted(rest, key=lambda each: (order.index(self.things[each].kind), self._is_key(each), each)):
            thing = self.things[name]
            parts = {"schema": self.schema, "of": thing.of, "own": thing.own}
            words = {word: sql.Identifier(part) for word, part in parts.items()}
            yield Mend(sql.SQL(_DROP[thing.kind]).format(**words).as_string(), loses=name not in kept)
        if tables:
            named = sql.SQL(", ").join(sql.Identifier(self.schema, self.things[name].own) for name in tables)
            yield Mend(sql.SQL("DROP TABLE {}").format(named).as_string(), loses=True)

    def _is_key(self, name: str) -> bool:
        """Foreign keys go first, since they lean on the others."""
        return not self.there[name].startswith(_FOREIGN)

    def _turn(self, name: str) -> tuple[bool, bool, str]:
        """Keys, then indexes, then what leans on keys."""
        return self.wanted[name].startswith(_FOREIGN), not self.wanted[name].startswith(_KEYS), name

    def _make(self, name: str) -> str:
        """From the release's line, which is SQL that PostgreSQL wrote, with the schema as the search path."""
        kind, _space, rest = name.partition(" ")
        if kind == "index":
            return self.wanted[name]
        table = max((each for each in self._tables() if rest.startswith(f"{each}.")), key=len, default="")
        text = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(
            sql.Identifier(self.schema, table), sql.Identifier(rest.removeprefix(f"{table}."))
        )
        return text.as_string() + self.wanted[name]

    def _tables(self) -> Iterator[str]:
        return (name.removeprefix("table ") for name in self.wanted if name.startswith("table "))

    def _change(self, name: str) -> Iterator[str]:
        """A column's default and NOT NULL; nothing where more than that is another."""
        thing = self.things.get(name)
        if thing is None or thing.kind != "column":
            return
        (kind, filled, default), (kind_found, filled_found, default_found) = (
            _column(self.wanted[name]),
            _column(self.there[name]),
        )
        if kind != kind_found or " identity " in f"{kind} " or "generated" in kind:
            return
        head = sql.SQL("ALTER TABLE {} ALTER {} ").format(
            sql.Identifier(self.schema, thing.of), sql.Identifier(thing.own)
        )
        if default != default_found:
            yield head.as_string() + (f"SET DEFAULT {default}" if default else "DROP DEFAULT")
        if filled != filled_found:
            yield head.as_string() + ("SET NOT NULL" if filled else "DROP NOT NULL")


def _column(definition: str) -> tuple[str, bool, str]:
    """Type and the like, whether it is NOT NULL, and the default."""
    kind, _word, default = f"{definition} ".partition(" DEFAULT ")
    return kind.replace(" NOT NULL", "").strip(), " NOT NULL" in kind, default.strip()
