"""What every page of a tenant shows at its top: from where it is served, asked of the database itself."""

from typing import Any

from django.db import connection
from django.http import HttpRequest

from tenants.context import current_or_none
from tenants.isolation import credentials


def served_from(request: HttpRequest) -> dict[str, Any]:
    """`served_from`: tenant, tier, and what PostgreSQL says about this connection. Nothing at a host of no tenant."""
    if (context := current_or_none()) is None:
        return {}
    with connection.cursor() as cursor:  # `default` is the tenant's own connection here
        cursor.execute("SELECT current_database(), current_schema(), session_user")
        database, schema, role = cursor.fetchone()
    storage = credentials.of(context).storage
    return {
        "served_from": {
            "name": request.tenant.name,  # type: ignore[attr-defined]  # set by the host middleware
            "slug": context.slug,
            "tier": context.tier.label,
            "database": database,
            "schema": schema,
            "role": role,
            "bucket": storage.bucket,
            "prefix": storage.prefix,
            "hue": context.tenant_id.int % 360,
        }
    }
