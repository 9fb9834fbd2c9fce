"""Copy a release into a schema: the same two scripts and the same rows for a tenant, a template, or a test."""

from collections.abc import Iterator

from psycopg import sql

from provisioning.databases.ddl import become_owner
from provisioning.databases.servers import Connection, Query, run
from provisioning.models import Release

# Note [Text is replaced in the script, and nowhere else]
# Names in DDL are composed by psycopg.sql. The one exception is here: a script of pg_dump names its schema in hundreds
# of places, function bodies and default expressions among them, where no parameter can stand. It is sound because the
# blueprint's schema was *named* by the placeholder while Django migrated, 128 random bits that occur nowhere by chance,
# so pg_dump itself wrote the placeholder exactly where the schema is meant; and because the names put in its place are
# derived from ids (`t_<hex>`) or fixed words, which need no quoting in any context. `checked` refuses any other.


def replay(connection: Connection, release: Release, schema: str) -> None:
    """Make `schema` and fill it, inside the caller's transaction, owned by the owner role.

    Raises psycopg errors; DuplicateSchema when it is there already.
    """
    run(connection, become_owner())
    for text, rows in _parts(release, checked(schema)):
        if rows is None:
            connection.execute(text)  # no parameters: one round trip for all statements
            continue
        with connection.cursor().copy(text) as copy:
            copy.write(rows)
    run(connection, "RESET ROLE; SET LOCAL search_path = pg_catalog")


def checked(schema: str) -> str:
    """The name itself, if it is one that needs no quotes anywhere."""
    if not (schema.isascii() and schema.islower() and schema.replace("_", "a").isalnum() and schema[0].isalpha()):
        raise ValueError(f"{schema[:63]!r} is no derived name.")
    return schema


def _parts(release: Release, schema: str) -> Iterator[tuple[Query, str | None]]:
    yield _replaced(release.script, release, schema), None
    for table in release.seed:
        columns = sql.SQL(", ").join(map(sql.Identifier, table["columns"]))
        target = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(schema, table["table"]), columns)
        yield target, table["copy"].replace(release.placeholder, schema)
    yield _replaced(release.finish, release, schema), None


def _replaced(script: str, release: Release, schema: str) -> sql.SQL:
    return sql.SQL(script.replace(release.placeholder, schema))  # see the Note above
