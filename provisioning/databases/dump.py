"""Read a migrated blueprint back as replayable text: scripts by pg_dump, rows by COPY, and the fingerprint."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path
from typing import Any

from django.conf import settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from provisioning.databases.ddl import OWNER
from provisioning.databases.fingerprint import hash_of, shape
from provisioning.databases.servers import Connection, run
from provisioning.errors import Permanent

POSITION = "SELECT pg_catalog.setval("  # how a release's `finish` begins: where each sequence stands

_FIRST, _LAST = "--\n-- Name: ", "--\n-- PostgreSQL database dump complete"
_HEADING = re.compile(r"^--\n-- Name: [^\n]*; Type: [^\n]*; Schema: [^\n]*; Owner: -\n--\n\n", re.MULTILINE)


class NoPgDump(Permanent):
    """pg_dump is missing, or older than the server it has to read."""

    code = "PG_DUMP_UNUSABLE"
    cure = "Install the PostgreSQL client of the server's version and set PG_BIN to the folder of its programs."


class DumpFailed(Permanent):
    """pg_dump could not read the blueprint."""

    code = "RELEASE_DUMP_FAILED"
    cure = "Read what pg_dump said, remove the cause, and publish again."


@dataclass(frozen=True, slots=True)
class Dump:
    """The fields of a Release that come from the blueprint; see Release for what each holds."""

    script: str
    seed: list[dict[str, Any]]
    finish: str
    fingerprint: str
    shape: list[str]


def dump(connection: Connection, url: str, schema: str) -> Dump:
    """Everything about one schema. `connection` is to the database that `url` names. Raises NoPgDump, DumpFailed."""
    lines = shape(connection, schema)
    return Dump(
        script=_script(url, schema, "pre-data"),
        seed=rows_of_tables(connection, schema),
        finish=_positions(connection, schema) + _script(url, schema, "post-data"),
        fingerprint=hash_of(lines),
        shape=lines,
    )


def with_rows_of(made: Dump, connection: Connection, schema: str) -> Dump:
    """The same with the rows, and the positions of sequences, of another schema of the same shape."""
    scripts = dropwhile(lambda line: line.startswith(POSITION), made.finish.splitlines(keepends=True))
    return replace(
        made, seed=rows_of_tables(connection, schema), finish=_positions(connection, schema) + "".join(scripts)
    )


def pg_program(name: str) -> str:
    """The path of a PostgreSQL client program: from settings.PG_BIN, else from PATH. Raises NoPgDump."""
    folder = settings.PG_BIN
    path = str(Path(folder) / name) if folder else shutil.which(name)
    if not path or not Path(path).exists():
        raise NoPgDump(f"There is no {name} in {folder or 'PATH'}.")
    return path


def pg_environment(url: str) -> dict[str, str]:
    """No PG* variable of the caller's, and the password where other users of the machine cannot read it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "PGPASSWORD": str(conninfo_to_dict(url).get("password") or "")}


def without_password(url: str) -> str:
    return make_conninfo(url, password=None)


def _script(url: str, schema: str, section: str) -> str:
    """One section of pg_dump's text, without its frame of SET statements and psql commands."""
    made = subprocess.run(
        (
            *(pg_program("pg_dump"), f"--dbname={without_password(url)}", f"--role={OWNER}"),
            *(f"--schema={schema}", f"--section={section}", "--no-owner", "--no-privileges", "--no-comments"),
            *("--no-tablespaces", "--no-table-access-method", "--no-security-labels", "--no-publications"),
            "--no-subscriptions",
        ),
        check=False,
        capture_output=True,
        text=True,
        env=pg_environment(url),
    )
    if made.returncode != 0:
        said = " ".join(made.stderr.split())
        raise (NoPgDump if "version mismatch" in said else DumpFailed)(said[:500])
    body = made.stdout[made.stdout.find(_FIRST) :] if _FIRST in made.stdout else ""
    return _HEADING.sub("", body.partition(_LAST)[0])


def rows_of_tables(connection: Connection, schema: str) -> list[dict[str, Any]]:
    """The rows of each table that has any. In any order: keys and triggers are made after the rows."""
    return [
        table for table in (_rows(connection, schema, *each) for each in _tables(connection, schema)) if table["rows"]
    ]


def _tables(connection: Connection, schema: str) -> list[tuple[str, list[str], list[str]]]:
    """Name, columns that take a value, and columns of the primary key."""
    return [
        (str(name), list(columns), list(key))
        for name, columns, key in run(
            connection,
            """
            SELECT c.relname,
                   array(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
                         AND NOT attisdropped AND attgenerated = '' ORDER BY attnum),
                   array(SELECT a.attname::text FROM pg_constraint k JOIN pg_attribute a
                         ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
                         WHERE k.conrelid = c.oid AND k.contype = 'p' ORDER BY a.attnum)
            FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'
            ORDER BY c.relname COLLATE "C"
            """,
            schema,
        )
    ]


def _rows(connection: Connection, schema: str, table: str, columns: list[str], key: list[str]) -> dict[str, Any]:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    ordered = sql.SQL(" ORDER BY ") + sql.SQL(", ").join(map(sql.Identifier, key)) if key else sql.SQL("")
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(names, sql.Identifier(schema, table), ordered)
    with connection.cursor().copy(query) as copy:
        text = b"".join(bytes(part) for part in copy).decode()
    # Text COPY writes one line a row: a line feed in a value is written as \n (PostgreSQL 18, "COPY").
    return {"table": table, "columns": columns, "rows": text.count("\n"), "copy": text}


def _positions(connection: Connection, schema: str) -> str:
    """Where each sequence stands, so that a tenant's first row does not meet the id of a seed row."""
    found = run(
        connection,
        "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value FROM pg_sequences"
        " WHERE schemaname = %s AND last_value IS NOT NULL ORDER BY 1",
        schema,
    )
    statement = sql.SQL(f"{POSITION}{{}}, {{}});\n")
    return "".join(
        statement.format(sql.Literal(name), sql.Literal(value)).as_string(connection) for name, value in found
    )
