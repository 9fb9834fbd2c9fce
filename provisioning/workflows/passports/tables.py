"""A tenant's tables into files, all as they stood at one moment; and what a manifest says of the tenant."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import IO

from provisioning.databases.passport import snapshot
from provisioning.workflows.passports.format import File, counted, table_name
from tenants.context import TenantContext
from tenants.models import Tenant
from tenants.placement import public_id

Put = Callable[[str, IO[bytes]], None]
"""Where a file goes, by its name; it is read from its beginning."""


def tables(tenant: TenantContext, put: Put) -> tuple[datetime, list[File]]:
    """One file a table, in one transaction. Each is on this machine's disk meanwhile, and one at a time.

    Returns the moment they show. Raises ServerUnavailable, ServerRefused, and what `put` raises.
    """
    files: list[File] = []
    with snapshot(tenant) as seen:
        for table in seen.tables:
            with counted() as grown, closing(seen.lines(table)) as lines:
                for line in lines:
                    grown.add(line)
                told = grown.told(table_name(table.name), [(column.name, column.type) for column in table.columns])
                put(told.name, grown.file)
                files.append(told)
    return seen.at, files


def said_of(tenant: Tenant) -> dict[str, str]:
    """Who it is, as the manifest says it."""
    placed = tenant.placements.get(active=True)
    return {
        "id": public_id("ten", tenant.pk),
        "slug": tenant.slug,
        "tier": str(placed.tier),
        "release": tenant.release,
        "state": str(tenant.state),
    }
