"""Part of the rollout benchmark: so many tenants on the current release, made without onboarding them. Prints JSON.

Rows in the control database together, schemas by the very replay that onboarding copies a release with. They have no
bucket, role or key, none of which a rollout touches. SAMPLE of them, and WARM others, have a label.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql
from tqdm import tqdm

from benchmarks import control

if TYPE_CHECKING:
    from tenants.models import Tenant

WARM = 12
FLEET, SAMPLED, WARMING = {"part": "fleet"}, {"sample": "yes"}, {"part": "warm-up"}
ROWS = sql.SQL("INSERT INTO {} (subject, amount) SELECT 'Entry ' || n, n % 90 + 9.99 FROM generate_series(1, {}) AS n")


def main(tenants: int, sample: int, rows: int) -> None:
    control.furnish()
    labels = [{**FLEET, **(SAMPLED if number < sample else {})} for number in range(tenants)]
    made = [*registered([*labels, *[WARMING] * WARM])]
    copied(made, rows)
    print(json.dumps({"tenants": tenants}))


def registered(labels: Sequence[dict[str, str]], **placed: Any) -> list[Tenant]:
    """Active tenants, one for each set of labels, in the schema tier unless `placed` says otherwise."""
    from provisioning.models import Release
    from tenants.models import Cluster, Placement, Plan, Tenant
    from tenants.placement import tenant_key
    from tenants.states import TenantState, Tier

    cluster, release = Cluster.objects.get(), Release.objects.get(current=True)
    place = {"tier": Tier.SCHEMA, "cluster": cluster, "database": cluster.database, **placed}
    tenants = [
        Tenant(
            slug=f"{each['part']}-{number}",
            name=f"Tenant {number}",
            principal="bench",
            plan=Plan.objects.get(tier=place["tier"]),
            region=cluster.region,
            labels=each,
            release=release.name,
            state=TenantState.ACTIVE,
        )
        for number, each in enumerate(labels)
    ]
    Tenant.objects.bulk_create(tenants, batch_size=1_000)
    placements = [Placement(**{"tenant": each, "schema": tenant_key(each.pk), **place}) for each in tenants]
    Placement.objects.bulk_create(placements, batch_size=1_000)
    return tenants


def copied(tenants: Sequence[Tenant], rows: int) -> None:
    from provisioning.databases import ddl
    from provisioning.databases.replay import replay
    from provisioning.databases.servers import connect
    from provisioning.models import Release
    from tenants.models import Cluster
    from tenants.placement import tenant_key

    release = Release.objects.get(current=True)
    with connect(Cluster.objects.get()) as connection:
        for tenant in tqdm(tenants, desc="our schemas", disable=None):
            schema = tenant_key(tenant.pk)
            with connection.transaction():
                replay(connection, release, schema)
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
                connection.execute(ROWS.format(sql.Identifier(schema, "ledger_entry"), rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
