"""What becomes of one person's rows: a transaction at a time, as the tenant they are in.

# Note [One snapshot]
Rows are remembered by address between finding and changing them. Both happen in one REPEATABLE READ transaction: an
address that was given to another row meanwhile shows that row to nobody in it, and a row that somebody changed
meanwhile fails the transaction, which is then tried again.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from provisioning.databases.erasing.fields import file_columns, written
from provisioning.databases.erasing.people import Person, Search
from provisioning.databases.erasing.places import Lease, Place
from provisioning.databases.roles import LoginRole, enter, log_in
from provisioning.databases.servers import Connection, run, server_errors
from tenants.classification import Blank, Delete, Policy
from tenants.context import TenantContext
from tenants.states import Tier


@dataclass(frozen=True, slots=True)
class Changed:
    """What one transaction did: rows that went or were blanked, rows that stay on a ground, and in which tables."""

    rows: int
    retained: int
    tables: frozenset[str]


def change(place: Place, person: Person, policies: Mapping[str, Policy], *, limit: int, lease: Lease) -> Changed:
    """One transaction as the tenant: at most `limit` rows, those that refer to others first. None: nothing was left.

    Raises ServerUnavailable, also where somebody changed one of the rows meanwhile.
    """
    with server_errors(place.context.slug), closing(_as_tenant(place.context)) as connection:
        search = Search.through(connection, place.context, policies)
        rows = search.rows_of(person)
        left, changed = limit, set[str]()
        for table in search.leaves_first():
            word, doomed = policies.get(table), rows.open.get(table, ())[:left]
            if not doomed or not isinstance(word, (Delete, Blank)):
                continue
            lease()
            left -= _apply(search, table, word, doomed)
            changed.add(table)
        connection.commit()
    kept = sum(len(each) for table, each in rows.found.items() if not isinstance(policies[table], (Delete, Blank)))
    return Changed(limit - left, kept, frozenset(changed))


def file_names(place: Place, person: Person, policies: Mapping[str, Policy]) -> tuple[str, ...]:
    """Names of files that the person's rows hold, where the row goes or the name is blanked."""
    names = dict[str, None]()
    with server_errors(place.context.slug), closing(_as_tenant(place.context)) as connection:
        search = Search.through(connection, place.context, policies)
        rows, columns = search.rows_of(person), file_columns()
        for table, addresses in rows.open.items():
            word = policies[table]
            for column in columns.get(table, ()):
                if isinstance(word, Delete) or (isinstance(word, Blank) and column in word.columns):
                    question = sql.SQL("SELECT {0} FROM {1} WHERE ctid = ANY (%s::tid[]) AND {0} <> ''")
                    asked = question.format(sql.Identifier(column), search.name(table))
                    names.update(dict.fromkeys(str(name) for (name,) in run(connection, asked, list(addresses))))
    return tuple(names)


def _as_tenant(context: TenantContext) -> Connection:
    """See Note [One snapshot]. As the tenant's own role or its pool's, for use: one person's tenant lives on."""
    connection = log_in(context, *LoginRole().login(context))
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    if context.tier == Tier.POOL:
        enter(connection, context)
    return connection


def _apply(search: Search, table: str, word: Delete | Blank, rows: tuple[str, ...]) -> int:
    name = search.name(table)
    if isinstance(word, Delete):
        text = sql.SQL("DELETE FROM {} WHERE ctid = ANY (%(rows)s::tid[])").format(name)
        return search.connection.execute(text, {"rows": list(rows)}).rowcount
    values = {f"v{n}": written(value) for n, value in enumerate(word.columns.values())}
    sets = sql.SQL(", ").join(
        sql.SQL(f"{{}} = %(v{n})s").format(sql.Identifier(column)) for n, column in enumerate(word.columns)
    )
    text = sql.SQL("UPDATE {} SET {} WHERE ctid = ANY (%(rows)s::tid[])").format(name, sets)
    return search.connection.execute(text, {**values, "rows": list(rows)}).rowcount
