"""`python -m controlplane.management.ticket`: a ticket into a pool, on one line for `psql/enter.psql` to take apart.

What it signs with comes in TENURE_TICKET_KEY, which `tenant_psql` gives to psql, and psql to this.
"""

import json
import os
import sys
from uuid import UUID

from tenants.context import TenantContext
from tenants.isolation.tickets import ContextKey, mint
from tenants.states import Tier

VARIABLE = "TENURE_TICKET_KEY"


def as_variable(context: TenantContext, key: ContextKey) -> str:
    """What `main` needs, for the environment of psql."""
    named = {"tenant": context.tenant_id.hex, "incarnation": context.incarnation.hex, "schema": context.schema}
    return json.dumps({**named, "slug": context.slug, "key": key.as_json()})


def main() -> None:
    given = json.loads(os.environ[VARIABLE])
    context = TenantContext(
        tenant_id=UUID(given["tenant"]),
        incarnation=UUID(given["incarnation"]),
        slug=given["slug"],
        tier=Tier.POOL,
        cluster="",
        database="",
        schema=given["schema"],
    )
    ticket = mint(context, ContextKey.from_json(given["key"]))
    words = (context.schema, *ticket[:-1], ticket.mac.hex())
    sys.stdout.write("|".join(map(str, words)))


if __name__ == "__main__":
    main()
