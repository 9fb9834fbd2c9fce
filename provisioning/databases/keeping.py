"""How the guard keeps the context of a transaction: in a parameter only it may set, or under a seal where none is.

# Note [A parameter that only the guard may set]
A setting that sessions may write needs a proof, which every statement then has to check; that, and the sub-select which
kept the answer for a statement, was most of what a pool cost (docs/benchmarks.md). A parameter that wants a right to be
set needs none. PostgreSQL knows that right since version 15, for its own parameters alone; `backtrace_functions` is the
one of them that takes any word and does nothing with one that is no function's name. A superuser grants it once a
server; where nobody can, the seal stays. No Django in here: the embedded stack reads this before there are settings.
"""

from enum import StrEnum
from pathlib import Path

from psycopg import sql

from provisioning.databases.ddl import GUARD

PARAMETER = "backtrace_functions"
MAY_SET = "SELECT has_parameter_privilege(%s, 'SET WITH GRANT OPTION')"


class Keeps(StrEnum):
    """Which of the guard's two files is installed, ahead of guard.sql."""

    PARAMETER = "parameter"
    SEAL = "seal"

    def text(self) -> sql.SQL:
        return sql.SQL(Path(__file__).with_name(f"guard_{self}.sql").read_text())


def lend(role: str) -> sql.Composed:
    """The statement for a superuser, once a server: the provisioning role may give the guard its parameter."""
    return sql.SQL("GRANT SET ON PARAMETER {} TO {} WITH GRANT OPTION").format(
        sql.Identifier(PARAMETER), sql.Identifier(role)
    )


def give_to_guard() -> sql.Composed:
    return sql.SQL("GRANT SET ON PARAMETER {} TO {}").format(sql.Identifier(PARAMETER), sql.Identifier(GUARD))
