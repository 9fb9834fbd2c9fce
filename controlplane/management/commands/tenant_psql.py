"""`manage.py tenant_psql SLUG [-- ARGUMENTS OF PSQL]`: psql as one tenant.

# Note [psql in a pool]
There a session sees rows only in a transaction that has entered. A terminal begins with one, and `:enter` begins the
next; commands in arguments or from a pipe run in one transaction together, which is committed behind them.
"""

import os
import shutil
import sys
from getopt import GetoptError, gnu_getopt
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.management import ticket
from provisioning import lifecycle
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

SCRIPTS = Path(__file__).resolve().parent.parent / "psql"
# Those of psql 18, to find among its arguments the ones that bring commands.
SHORT = "aAbc:d:eEf:F:h:HlL:no:p:P:qR:sStT:U:v:VwWxXz?01"
LONG = (
    "command= dbname= file= list set= variable= version no-psqlrc single-transaction help echo-all echo-errors"
    " echo-queries echo-hidden log-file= no-readline output= quiet single-step single-line no-align csv"
    " field-separator= html pset= record-separator= tuples-only table-attr= expanded field-separator-zero"
    " record-separator-zero host= port= username= no-password password"
).split()
COMMANDS = {"-c", "-f", "--command", "--file"}
ACTOR = Actor(kind="command", id="tenant_psql", name="manage.py tenant_psql")


class Command(BaseCommand):
    help = "Open psql as a tenant's role, in its database and schema. The audit log says so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("arguments", nargs="*", help="behind `--`: what psql takes, for example -- -c '\\dt'")

    def handle(self, *, slug: str, arguments: list[str], **_options: Any) -> None:
        if not (psql := shutil.which("psql", path=settings.PG_BIN or None)):
            raise CommandError("There is no psql. Install PostgreSQL's client, or set PG_BIN to the folder it is in.")
        try:
            tenant = Tenant.objects.get(slug=slug)
            given = lifecycle.hand_out_credentials(tenant=tenant, actor=ACTOR).database
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stdout.flush()
        # Nothing in the arguments: those, unlike the environment, every user of the machine can read.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        connection = {
            "PGHOST": given.host,
            "PGPORT": str(given.port),
            "PGDATABASE": given.name,
            "PGUSER": given.user,
            "PGPASSWORD": given.password,
            "PGOPTIONS": f"-c search_path={given.schema}",
        }
        if given.context_key is not None:
            arguments = entering(arguments, terminal=sys.stdin.isatty())
            connection |= {
                ticket.VARIABLE: ticket.as_variable(tenant.context(), given.context_key),
                "TENURE_PYTHON": sys.executable,
                "TENURE_ENTER": str(SCRIPTS / "enter.psql"),
                "PSQLRC": str(SCRIPTS / "welcome.psql"),
                "PYTHONPATH": str(SCRIPTS.parents[2]),
            }
        os.execve(psql, [Path(psql).name, *arguments], {**kept, **connection})  # noqa: S606  no shell, our own list


def entering(arguments: list[str], *, terminal: bool) -> list[str]:
    """What psql is called with for a tenant of a pool. See Note [psql in a pool]."""
    try:
        given, names = gnu_getopt(arguments, SHORT, LONG)
    except GetoptError as error:
        raise CommandError(f"psql has no such option: {error}.") from error
    brings = any(option in COMMANDS for option, _value in given)
    if terminal and not brings:
        return arguments
    options = [f"{option}{'=' if value and option.startswith('--') else ''}{value}" for option, value in given]
    first = next((at for at, (option, _value) in enumerate(given) if option in COMMANDS), len(options))
    piped = [] if brings else ["--file=-"]
    enter, leave = (f"--file={SCRIPTS / name}" for name in ("enter.psql", "leave.psql"))
    return ["--no-psqlrc", *options[:first], enter, *piped, *options[first:], leave, *names]
