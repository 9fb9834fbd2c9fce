"""What a schema's catalog says of its tables: columns that hold words, and who refers to whom by which columns."""

from dataclasses import dataclass

from psycopg import sql

from provisioning.databases import pooling
from provisioning.databases.servers import Connection

_COLUMNS = """
    SELECT c.relname::text, c.relkind = 'm', a.attname::text,
        CASE WHEN t.typname IN ('json', 'jsonb', 'bytea') THEN t.typname::text
        WHEN t.typname = 'uuid' OR t.typcategory = 'E' THEN 'id'
        WHEN t.typcategory IN ('S', 'A', 'C', 'U', 'I') THEN 'text' ELSE '' END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'm', 'f') ORDER BY 1, a.attnum
"""
_REFERENCES = """
    SELECT c.relname::text, r.relname::text,
        array_agg(own.attname::text ORDER BY pair.n), array_agg(other.attname::text ORDER BY pair.n)
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS pair (own, other, n)
    JOIN pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = pair.own
    JOIN pg_attribute other ON other.attrelid = k.confrelid AND other.attnum = pair.other
    WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relnamespace = to_regnamespace(%(schema)s)
        AND r.relnamespace = c.relnamespace
    GROUP BY k.oid, c.relname, r.relname ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Table:
    """`columns`: name → "json", "jsonb", "bytea", "text" for whatever else may hold words, "id" for uuids and enums,
    "" for what can hold nothing of the kind.
    """

    name: str
    columns: dict[str, str]
    is_copy: bool = False  # a materialised view: it has what its tables had when it was last refreshed

    @property
    def pooled(self) -> bool:
        return pooling.TENANT_ID in self.columns

    @property
    def wordy(self) -> list[str]:
        return [name for name, kind in self.columns.items() if kind and name != pooling.TENANT_ID]


@dataclass(frozen=True, slots=True)
class Reference:
    """One foreign key: `pairs` are (column of the referring table, column it refers to)."""

    referring: str
    referred: str
    pairs: tuple[tuple[str, str], ...]


def tables_of(connection: Connection, schema: str) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for table, is_copy, column, kind in connection.execute(_COLUMNS, {"schema": schema}).fetchall():
        found.setdefault(str(table), Table(str(table), {}, bool(is_copy))).columns[str(column)] = str(kind)
    return found


def references_of(connection: Connection, schema: str) -> list[Reference]:
    rows = connection.execute(_REFERENCES, {"schema": schema}).fetchall()
    return [Reference(a, b, tuple(zip(own, other, strict=True))) for a, b, own, other in rows]


def as_text(column: str, kind: str) -> sql.Composed:
    """A column as lower-case text that an identifier would be found in. Text of bytes keeps what is ASCII."""
    name = sql.Identifier(column)
    match kind:
        case "json":  # as it was written, "\\u00e9" and all; as jsonb it is letters
            return sql.SQL("lower({}::jsonb::text)").format(name)
        case "bytea":
            return sql.SQL("lower(encode({}, 'escape'))").format(name)
        case _:
            return sql.SQL("lower({}::text)").format(name)


def holds_one(column: str, kind: str, needles: str = "needles") -> sql.Composed:
    """Whether a column holds one of the parameter's texts. Bytes are looked at as UTF-8 as well."""
    found = sql.SQL("EXISTS (SELECT FROM unnest(%({needles})s::text[]) AS n WHERE strpos({text}, n) > 0").format(
        needles=sql.SQL(needles), text=as_text(column, kind)
    )
    if kind == "bytea":
        found += sql.SQL(" OR strpos(encode({}, 'hex'), encode(convert_to(n, 'UTF8'), 'hex')) > 0").format(
            sql.Identifier(column)
        )
    return sql.SQL("coalesce({}), false)").format(found)
