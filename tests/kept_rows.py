"""All rows of a database, and how to put them back after a test."""

from dataclasses import dataclass

import psycopg

# Whatever a statement of DDL changes in one of these gets a new xmin. 16384 is the first id that is not PostgreSQL's.
CATALOGS = {
    "class": "oid",
    "attribute": "attrelid",
    "attrdef": "oid",
    "constraint": "oid",
    "proc": "oid",
    "trigger": "oid",
    "policy": "oid",
    "namespace": "16384 + oid::bigint",
    "type": "oid",
}
SHAPE = " UNION ALL ".join(
    f"SELECT '{name}' || ctid || xmin AS found FROM pg_{name} WHERE {oid} >= 16384" for name, oid in CATALOGS.items()
)
OURS = "oid >= 16384 AND relpersistence = 'p' AND relnamespace <> 'pg_toast'::regnamespace"
TABLES = f"SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND {OURS}"
EMPTY = f"""
DO $$
DECLARE name text; BEGIN
    FOR name IN {TABLES} LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
END $$
"""
GUARDED = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger WHERE tgenabled = 'A' AND tgrelid >= 16384
"""
SEQUENCES = f"""
SELECT format('SELECT %L, last_value, is_called FROM %s', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind = 'S' AND {OURS}
"""
END_OTHERS = """
SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Kept:
    """`rows`: what COPY says of each table that has any. `sequences`: name, last value, whether it was given out.

    `shape` is that of a copy of the template; `shape_now` that of the database since rows were put back in it.
    """

    shape: str
    rows: dict[str, bytes]
    sequences: list[tuple[str, int, bool]]
    shape_now: str = ""


def keep(url: str) -> Kept:
    with psycopg.connect(url, autocommit=True) as connection:
        tables = [name for (name,) in connection.execute(TABLES)]
        rows = {}
        for table in tables:
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                if text := b"".join(bytes(part) for part in copy):
                    rows[table] = text
        return Kept(_shape(connection), rows, _sequences(connection))


def put_back(url: str, kept: Kept) -> bool:
    """Whether it could be done: not after DDL, nor in a database that is gone."""
    expected, kept.shape_now = kept.shape_now or kept.shape, ""
    try:
        with psycopg.connect(url) as connection:
            connection.execute(END_OTHERS)
            if _shape(connection) != expected:
                return False
            connection.execute("SET session_replication_role = replica")  # no trigger, no order of tables
            guarded = connection.execute(GUARDED).fetchall()  # nobody may delete there, ever
            for table, trigger in guarded:
                _run(connection, f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
            connection.execute(EMPTY)
            for table, text in kept.rows.items():
                with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write(text)
            for table, trigger in guarded:
                _run(connection, f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
            shape_now = _shape(connection)
            for name, last, called in kept.sequences:
                connection.execute("SELECT setval(%s, %s, %s)", (name, last, called))
    except psycopg.OperationalError:
        return False
    kept.shape_now = shape_now
    return True


def _run(connection: psycopg.Connection, statement: str) -> None:
    connection.execute(statement)


def _shape(connection: psycopg.Connection) -> str:
    query = f"SELECT md5(string_agg(found, ',' ORDER BY found)) FROM ({SHAPE}) AS shape"
    return str(connection.execute(query).fetchone())


def _sequences(connection: psycopg.Connection) -> list[tuple[str, int, bool]]:
    each = [query for (query,) in connection.execute(SEQUENCES)]
    return connection.execute(" UNION ALL ".join(each)).fetchall() if each else []
