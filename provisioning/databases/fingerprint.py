"""The shape of one schema: as a hash, as sorted lines a person can read, and as the difference of two.

# Note [What counts as shape]
Everything that decides whether a statement works: tables, columns, types, defaults, identity, generated expressions,
collations, constraints, indexes, sequences, views, triggers, functions, types, row security. Left out: comments, owners
and grants (verified apart), the position of columns (a squashed migration orders them otherwise, and Django names every
column), names of NOT NULL constraints (they keep the names of renamed columns), and the rows themselves.

Lines are compared as text, so each is made independent of object ids, of the schema's own name, and of the search path:
PostgreSQL leaves out a schema's name where it is the search path, and what is left (function bodies, regclass literals)
is replaced. Names of schemas that we fingerprint are unlikely on purpose, so nothing else is hit.
Casts between PostgreSQL's own string types are left out, too: `status IN ('a', 'b')` on a varchar is written back as a
cast of an array, and once that text has been read again as a cast of each element (tried: Wagtail's partial indexes). A
schema that was migrated, a copy, and a copy of a copy must all have one fingerprint.
"""

from hashlib import sha256
from pathlib import Path

from provisioning.databases.servers import Connection

_SHAPE = Path(__file__).with_name("shape.sql").read_text()
_LINES = f'SELECT text FROM ({_SHAPE}) AS shaped ORDER BY text COLLATE "C"'
# Hashed in the server: a hash is 64 bytes of answer, the lines of Wagtail are 90,000.
_HASH = f"""
    SELECT encode(sha256(convert_to(coalesce(string_agg(text, E'\\n' ORDER BY text COLLATE "C"), ''), 'UTF8')), 'hex')
    FROM ({_SHAPE}) AS shaped
"""


def fingerprint(connection: Connection, schema: str) -> str:
    """The hash of a schema's shape: 64 hex digits. A schema that is missing has the hash of an empty one."""
    ((digest,),) = _ask(connection, schema, _HASH)
    return str(digest)


def shape(connection: Connection, schema: str) -> list[str]:
    """The sorted lines that `fingerprint` is the hash of: kind, name, definition."""
    return [str(text) for (text,) in _ask(connection, schema, _LINES)]


def hash_of(lines: list[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()


def difference(expected: list[str], found: list[str]) -> list[str]:
    """What to say about two shapes, a line a thing: missing, unexpected, or differing. Nothing when they are equal."""
    wanted, there = by_name(expected), by_name(found)
    said = []
    for name in sorted(wanted.keys() | there.keys()):
        match wanted.get(name), there.get(name):
            case str(definition), None:
                said.append(f"missing {name} {definition}".rstrip())
            case None, str(definition):
                said.append(f"unexpected {name} {definition}".rstrip())
            case before, after if before != after:
                said.append(f"{name} differs: expected {before or '(plain)'}, found {after or '(plain)'}")
            case _:
                pass
    return said


def by_name(lines: list[str]) -> dict[str, str]:
    """The lines as `kind name` → definition. A name holds no `: `, which ends it."""
    return {name: definition.strip() for name, _colon, definition in (line.partition(":") for line in lines)}


def _ask(connection: Connection, schema: str, query: str) -> list[tuple[object, ...]]:
    """In a transaction of its own, or inside the caller's: the search path is set for this query and put back."""
    with connection.transaction():
        ((before,),) = connection.execute("SELECT current_setting('search_path')").fetchall()
        connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", (schema,))
        rows = connection.execute(query.encode(), {"schema": schema}).fetchall()
        connection.execute("SELECT set_config('search_path', %s, true)", (before,))
    return rows
