"""The stamp of a schema: a hash of its raw catalog rows, twenty times quicker than the fingerprint.

# Note [Equal stamps are equal shapes]
`fingerprint` writes each thing back as SQL, which is most of its cost. A stamp hashes what that SQL is written from:
column numbers, flags, lists of ids of built-in types. So two schemas of one stamp have one fingerprint, whichever they
are copies of; two of one fingerprint need not have one stamp (columns or tables in another order, numbers left free by
dropped columns), and then the fingerprint decides and the stamp is learned (`provisioning.models.stamps`).

- Ids of a schema's own things never get in: a table or sequence is its place in the order they were made, and its name
  is hashed at that place. An index has its name alone, since it may be made anew at any time.
- Ids below 12000 are given when PostgreSQL is built, and are the same on all servers of one major version, which is
  hashed; above that, names are. Whatever names other things (most expressions, views, an index of a kind that has
  options for each column, a key that leads out of the schema) is written back as SQL after all, with every name
  qualified and the schema's own replaced; there are few of those. Checks and an index's own expressions are taken as
  PostgreSQL keeps them, with columns by number, unless pg_depend has them depend on more than columns: on what is built
  in nothing depends.
- Tables, columns, constraints, indexes and sequences are many rows of numbers and names. Each row is hashed column by
  column, every hash the seed of the next, so that a value counts at its place; with the row goes the place of its
  table. The hashes of a kind are added up, for which no order is needed and no text is written. Only columns that are
  never null stand in such a chain, or those of which NULL is given a number; arrays stand innermost, since the hash of
  an empty one forgets its seed, and beside them the hash of what was written back. What a column has that is not of
  built-in ids alone is in the text besides.
- Rules, views and partitions are looked for where a flag of a relation says that there may be one; triggers, policies
  and parents where pg_depend does, as each of these depends on its table as a whole, or the table on its parent. The
  triggers behind foreign keys, four to a key, do not, and so are not read.
- Everything else is text: every row a composite value and every list an array, so no two rows have one text, and as in
  a fingerprint the schema's name is replaced wherever it stands. Of that, and of the sums, the stamp is the SHA-256.

So two shapes have one stamp if they differ in rows whose hashes of 64 bits agree. Where nobody looks for such rows, and
only the owner of a schema could, that is one in 2^64 differences.

Measured on Wagtail (51 tables, 219 indexes, 177 constraints), processor time: 1.4 ms; the fingerprint 29 ms. A third of
it is reading 1,600 rows, a third is hashing, and each statement costs 20 µs whatever it finds: so there are few, none
sorts rows for an aggregate (a sorted subquery is narrower), and what is rare has a statement of its own behind an IF.

# Note [A function, not a query]
Planning those queries takes longer than running them, and a statement that is sent is planned each time. A function's
plans are kept by the session: its first call takes 10 ms. An expression can stand in any statement, so that a script
checks its own work before it commits. It lies in our own schema, where no tenant's role may enter, and runs
with the rights of whoever calls it.
"""

from collections.abc import Collection
from functools import lru_cache

from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.replay import checked
from provisioning.databases.servers import Connection, run

_BODIES = "SELECT prosrc FROM unnest(%s::text[]) AS named, pg_proc WHERE oid = to_regprocedure(named)"
_FUNCTIONS = [
    f"{ddl.HOUSE}.{signature}"
    for signature in ("stamp(regnamespace)", "demand(regnamespace, text[])", "depart(text, text, text)")
]


def stamp(connection: Connection, schema: str) -> str:
    """64 hex digits; empty when there is no such schema. Raises ValueError for a name that no schema of ours has."""
    ((found,),) = run(connection, sql.SQL("SELECT {}").format(stamp_expression(sql.Literal(checked(schema)))))
    return str(found or "")


def stamp_expression(schema: sql.Composable) -> sql.Composed:
    """The same as an SQL expression: text, or NULL without such a schema. `schema` is an expression for its name.

    For whoever owns our own schema, so after RESET ROLE where a script has become the owner of tenants' objects.
    """
    return sql.SQL("{}(pg_catalog.to_regnamespace({}))").format(_function(), schema)


def stamp_demanded(schema: str, stamps: Collection[str]) -> str:
    """An SQL expression that is empty if the schema has one of these stamps, and fails with the code TN005 if not."""
    return f"{ddl.HOUSE}.demand(pg_catalog.to_regnamespace('{checked(schema)}'), {_array(frozenset(stamps))})"


@lru_cache(maxsize=32)
def _array(stamps: frozenset[str]) -> str:
    """As a literal: composed once, not once a target."""
    return sql.Literal(sorted(stamps)).as_string()


def prepare(connection: Connection) -> None:
    """Make the functions that replays call as this version knows them, in a database that may be older.

    One query when they are there.
    """
    found, script = run(connection, _BODIES, _FUNCTIONS), ddl.STAMP + ddl.DEPARTURE
    if len(found) < len(_FUNCTIONS) or any(body not in script.as_string() for (body,) in found):
        run(connection, script)


def _function() -> sql.Identifier:
    return sql.Identifier(ddl.HOUSE, "stamp")
