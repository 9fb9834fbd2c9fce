"""Part of the isolation benchmark: tenants in the schema tier and in two pools, with their rows. Prints JSON.

The second pool holds the rows of as many tenants as the argument says.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from tqdm import tqdm

from benchmarks import control, isolation_rows

UNSIGNED = "unsigned_1"


def main(superuser_url: str, tenants: int) -> None:
    control.furnish()
    from tenants.models import Pool

    given = {"schema": [onboarded("standard")], "alone": [onboarded("pool")]}
    Pool.objects.update(state=Pool.State.DRAINING)  # so that the next one goes to another pool
    given["pool"] = [onboarded("pool"), onboarded("pool")]
    with psycopg.connect(superuser_url.rsplit("/", 1)[0] + "/tenure_cluster", autocommit=True) as superuser:
        isolation_rows.fill(superuser, given["schema"][0].schema)
        alone = given["alone"][0]
        tqdm.write("loading the pool of one tenant", file=sys.stderr)
        isolation_rows.fill_pool(superuser, alone.schema, [str(alone.tenant_id)], others=0)
        unsigned_pool(superuser, alone.schema)
        isolation_rows.fill_pool(superuser, UNSIGNED, [str(alone.tenant_id)], others=0)
        tqdm.write("loading the pool of many tenants", file=sys.stderr)
        several = given["pool"]
        isolation_rows.fill_pool(
            superuser, several[0].schema, [str(each.tenant_id) for each in several], others=tenants - len(several)
        )
    told = {name: [as_json(context) for context in contexts] for name, contexts in given.items()}
    told["unsigned"] = [as_json(replace(context, schema=UNSIGNED)) for context in given["alone"]]
    print(json.dumps(told))


def onboarded(plan: str) -> Any:
    """A context. Driven in this process, without a worker."""
    from provisioning import lifecycle
    from provisioning.models import Queue, Run
    from tenants.audit import Actor
    from tenants.models import Plan, Tenant
    from tenants.states import Tier

    Plan.objects.get_or_create(name="pool", defaults={"tier": Tier.POOL, "bucket_mode": "prefix"})
    slug = f"shop-{uuid4().hex[:12]}"
    run = lifecycle.onboard(
        wish=lifecycle.TenantWish(slug=slug, name=slug, plan=plan, principal="bench"),
        actor=Actor(kind="command", id="onboard", name="benchmark"),
        key=slug,
    )
    lifecycle.advance(queue=Queue(run.queue))
    ended = Run.objects.get(pk=run.pk)
    assert ended.state == "succeeded", (ended.state, ended.error)
    return Tenant.objects.get(slug=slug).context()


def unsigned_pool(superuser: psycopg.Connection, schema: str) -> None:
    """A twin of a pool whose policies believe a bare setting: what the signature is weighed against."""
    from provisioning.databases import ddl
    from provisioning.databases.releases import release_named
    from tenants.models import Pool
    from tenants.placement import pool_group

    pool = Pool.objects.get(schema=schema)
    release = release_named(pool.release)
    with superuser.transaction():
        superuser.execute(sql.SQL(release.pool_script.replace(release.placeholder, UNSIGNED)))
        superuser.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(UNSIGNED)))
        for table in isolation_rows.ROWS:
            superuser.execute(
                sql.SQL(
                    "ALTER TABLE {table} ALTER tenant_id SET DEFAULT current_setting('bench.tenant')::uuid,"
                    " OWNER TO {owner};"
                    "ALTER POLICY tenure ON {table} USING (tenant_id = current_setting('bench.tenant')::uuid)"
                    " WITH CHECK (tenant_id = current_setting('bench.tenant')::uuid)"
                ).format(table=sql.Identifier(table), owner=sql.Identifier(ddl.OWNER))
            )
        superuser.execute(
            sql.SQL(
                "GRANT USAGE ON SCHEMA {schema} TO {owner}, {group};"
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {group};"
                "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {group}"
            ).format(
                schema=sql.Identifier(UNSIGNED),
                owner=sql.Identifier(ddl.OWNER),
                group=sql.Identifier(pool_group(pool.pk)),
            )
        )


def as_json(context: Any) -> dict[str, Any]:
    """A context and its credentials, as an application's process is told."""
    from provisioning.workflows.handing_out import InProcess

    credentials = InProcess().credentials(context)
    database, storage = asdict(credentials.database), asdict(credentials.storage)
    database["schema"] = context.schema
    if (key := credentials.database.context_key) is not None:
        database["context_key"] = key.as_json()
    storage["expires_at"] = (storage["expires_at"] + timedelta(days=1)).isoformat()  # nobody opens a file here
    return {
        "context": {name: str(value) if value is not None else None for name, value in asdict(context).items()},
        "credentials": {"database": database, "storage": storage},
    }


if __name__ == "__main__":
    main(os.environ["SUPERUSER_URL"], int(sys.argv[1]))
