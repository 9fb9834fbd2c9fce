"""One tenant's rows in the tables of its pool: put there, counted, and taken out again."""

from functools import lru_cache
from uuid import UUID

from psycopg import sql

from provisioning.databases import ddl, pooling, space
from provisioning.databases.replay import checked, inserts
from provisioning.databases.servers import Connection, run
from provisioning.models import Release

ALL = 1_000_000_000  # rows
LOOKED_AT = 3  # tables, to tell a large tenant from a small one
MOST_TEXTS = 8  # hundreds of kilobytes each

_TABLES = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND NOT a.attisdropped ORDER BY 1
"""
_BIGGEST = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND NOT a.attisdropped
    ORDER BY pg_relation_size(c.oid) DESC, c.relname LIMIT %s
"""
_TENANT = sql.Identifier(pooling.TENANT_ID)
_NOBODY = UUID(int=0)
# With a query behind it in one text, which is a transaction of its own where none is open, and none may be: the role
# would stay.
_AS_VERIFIER = sql.SQL("SET LOCAL ROLE {}; ").format(sql.Identifier(ddl.VERIFIER))
TRIGGERS = """
    SELECT c.relname::text, t.tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace(%s) AND NOT t.tgisinternal AND t.tgenabled = 'O' ORDER BY 1, 2
"""


def seed(connection: Connection, release: Release, schema: str) -> None:
    """The release's seed rows, in a transaction that has entered the tenant. One round trip, whatever their number.

    The tenant's id comes from the columns' default: the rows' text is the same for every tenant, and kept.
    """
    connection.execute(_text(connection, release, schema))


def tables(connection: Connection, schema: str) -> list[str]:
    """The pooled tables, without those that tenants share."""
    return [str(name) for (name,) in run(connection, _TABLES, pooling.TENANT_ID, schema)]


def count(connection: Connection, schema: str, tenant_id: UUID) -> int:
    """Rows of one tenant in all tables, as the verifier sees them; 0 without the schema."""
    return sum(counts(connection, schema, tenant_id, tables(connection, schema)).values())


def counts(connection: Connection, schema: str, tenant_id: UUID, names: list[str]) -> dict[str, int]:
    """Rows of one tenant by table, as the verifier sees them."""
    if not names:
        return {}
    counted = _counting(schema, tuple(names)).replace(_NOBODY.hex, tenant_id.hex)
    return {str(name): int(number) for name, number in run(connection, counted)}


@lru_cache(maxsize=MOST_TEXTS)
def _counting(schema: str, names: tuple[str, ...]) -> str:
    one = "SELECT {} AS name, count(*) FROM {} WHERE {} = {}"
    nobody = sql.Literal(_NOBODY)
    each = [sql.SQL(one).format(sql.Literal(name), sql.Identifier(schema, name), _TENANT, nobody) for name in names]
    return (_AS_VERIFIER + sql.SQL(" UNION ALL ").join(each)).as_string()


def largest(connection: Connection, schema: str, *, limit: int) -> list[UUID]:
    """The tenants with the most rows in the largest tables, the largest first, as the verifier sees them."""
    biggest = [str(name) for (name,) in run(connection, _BIGGEST, pooling.TENANT_ID, schema, LOOKED_AT)]
    if not biggest:
        return []
    each = [sql.SQL("SELECT {} AS tenant FROM {}").format(_TENANT, sql.Identifier(schema, name)) for name in biggest]
    query = sql.SQL("SELECT tenant FROM ({}) AS rows GROUP BY tenant ORDER BY count(*) DESC, tenant LIMIT {}")
    counted = _AS_VERIFIER + query.format(sql.SQL(" UNION ALL ").join(each), sql.Literal(limit))
    return [tenant for (tenant,) in run(connection, counted)]


def seeded(release: Release) -> dict[str, int]:
    """How many rows of each table a tenant begins with."""
    return {table["table"]: table["rows"] for table in release.seed if table["table"] not in pooling.SHARED_TABLES}


def erase(connection: Connection, schema: str, *, limit: int) -> int:
    """Delete at most `limit` rows of one table that nothing refers to any more; how many went, 0 when none is left.

    In a transaction that has entered the tenant to erase: the policies see to whose rows go. Tables that refer to
    themselves or to each other in a circle have no row to begin with: of those the tenant's rows go in one statement,
    at whose end references are looked at, and the answer may then be more than `limit`.
    """
    references = space.references_of(connection, schema)
    for table in space.leaves_first(tables(connection, schema), references):
        circle = _circle_of(table, references)
        if gone := _empty(connection, schema, circle) if circle else _chunk(connection, schema, table, limit):
            return gone
    return 0


def erase_all(connection: Connection, schema: str) -> int:
    """As `erase`, every row."""
    gone = 0
    while chunk := erase(connection, schema, limit=ALL):
        gone += chunk
    return gone


def _circle_of(table: str, references: set[tuple[str, str]]) -> list[str]:
    """The tables from which references lead to this one and back; none if it is in no circle."""
    ahead = space.reachable(table, references)
    return sorted(other for other in ahead if table in space.reachable(other, references)) if table in ahead else []


def _chunk(connection: Connection, schema: str, table: str, limit: int) -> int:
    name = sql.Identifier(schema, table)
    text = sql.SQL("DELETE FROM {0} WHERE ctid IN (SELECT ctid FROM {0} LIMIT {1})").format(name, sql.Literal(limit))
    return connection.execute(text).rowcount


def _empty(connection: Connection, schema: str, circle: list[str]) -> int:
    gone = [
        sql.SQL("{} AS (DELETE FROM {} RETURNING 1)").format(sql.Identifier(f"gone_{n}"), sql.Identifier(schema, table))
        for n, table in enumerate(circle)
    ]
    counted = [
        sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(f"gone_{n}")) for n, _table in enumerate(circle)
    ]
    text = sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(gone), sql.SQL(" + ").join(counted))
    ((number,),) = run(connection, text)
    return int(number)


_texts: dict[tuple[UUID, str], str] = {}


def _text(connection: Connection, release: Release, schema: str) -> str:
    """Kept: neither a release nor the pool that is on it changes."""
    if (release.pk, schema) not in _texts:
        while len(_texts) >= MOST_TEXTS:
            _texts.pop(next(iter(_texts)))
        _texts[release.pk, schema] = _made(connection, release, schema)
    return _texts[release.pk, schema]


def _made(connection: Connection, release: Release, schema: str) -> str:
    """INSERTs, what is referred to first; triggers of the application's sleep, since what they did is in the rows."""
    found = {table["table"]: table for table in release.seed if table["table"] not in pooling.SHARED_TABLES}
    order = space.leaves_first(tables(connection, schema), space.references_of(connection, schema))
    rows = [statement for name in reversed(order) if name in found for statement in inserts(found[name], schema)]
    awake = [(table, name) for table, name in run(connection, TRIGGERS, schema) if table in found]
    asleep, again = (_triggers(schema, awake, word) for word in ("DISABLE", "ENABLE"))
    checked_first = ["SET CONSTRAINTS ALL IMMEDIATE;"] if again else []  # ALTER TABLE waits for no deferred check
    text = "\n".join((*asleep, *rows, *checked_first, *again))
    return text.replace(release.placeholder, checked(schema))


def _triggers(schema: str, awake: list[tuple[str, str]], word: str) -> list[str]:
    statement = sql.SQL("ALTER TABLE {} " + word + " TRIGGER {};")
    return [statement.format(sql.Identifier(schema, table), sql.Identifier(name)).as_string() for table, name in awake]
