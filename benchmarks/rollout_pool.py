"""Part of the rollout benchmark: a pool of so many tenants, each with the rows it begins with and some of its own.

As `rollout_tenants`: neither bucket nor key. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from psycopg import sql
from tqdm import tqdm

from benchmarks import control
from benchmarks.rollout_tenants import FLEET, ROWS, registered

if TYPE_CHECKING:
    from tenants.models import Pool

AT_ONCE = 200  # tenants, in one transaction


def main(tenants: int, rows: int) -> None:
    control.furnish()
    from provisioning.databases import pool_layout, pools
    from tenants.models import Cluster, Pool
    from tenants.states import Tier

    pool = pools.next_pool(Cluster.objects.get())
    pool.placed, pool.capacity = tenants, tenants
    pool.save(force_insert=True)
    pool_layout.lay_out(pool)
    registered([FLEET] * tenants, tier=Tier.POOL, pool=pool, schema=pool.schema)
    fill(pool, rows)
    print(json.dumps({"tenants": Pool.objects.get(pk=pool.pk).placed}))


def fill(pool: Pool, rows: int) -> None:
    from provisioning.databases import guard, pool_rows
    from provisioning.databases.releases import release_named
    from provisioning.databases.servers import connect
    from tenants.models import Placement

    release = release_named(pool.release)
    inside = Placement.objects.filter(pool=pool).select_related("tenant", "cluster")
    with connect(pool.cluster) as connection:
        contexts = [placement.context() for placement in inside]
        for start in tqdm(range(0, len(contexts), AT_ONCE), desc="the pool", disable=None):
            with connection.transaction():
                for context in contexts[start : start + AT_ONCE]:
                    connection.execute("RESET ROLE")
                    guard.open_door(connection, context)
                    guard.enter(connection, context)
                    pool_rows.seed(connection, release, pool.schema)
                    connection.execute(ROWS.format(sql.Identifier(pool.schema, "ledger_entry"), rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
