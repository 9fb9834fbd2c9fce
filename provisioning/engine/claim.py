"""Which run this worker drives next: one query, and the whole of recovery."""

import os
import socket

from django.db import connection

from provisioning.engine.fence import lease_s
from provisioning.engine.workflow import Workflows
from provisioning.models import Queue, Run

# "Fewer are driven than the limit" is read, then written: one claim at a time.
CLAIM_LOCK = 0x54454E55_0001

# Who holds a tenant, and which limits are full. Materialized, or they are computed again for each row looked at.
BLOCKERS = """
    known AS MATERIALIZED (
        SELECT * FROM unnest(%(names)s::text[], %(versions)s::int[]) AS k (workflow, version)
    ), held AS MATERIALIZED (
        SELECT lock_key FROM provisioning_run
        WHERE lock_key IS NOT NULL AND state IN ('running', 'paused', 'parked')
    ), driven AS MATERIALIZED (
        SELECT limit_key, fair_key FROM provisioning_run WHERE lease_until IS NOT NULL
    ), filled AS MATERIALIZED (
        SELECT l.key FROM provisioning_runlimit l JOIN driven d ON d.limit_key = l.key
        GROUP BY l.key, l.max_running HAVING count(*) >= l.max_running
    )"""

# A lapsed lease is exempt from limits: its worker's last statement may still run on the cluster, so it counts already.
RUNNABLE = """
    r.queue = %(queue)s AND r.state IN ('queued', 'running')
    AND (r.workflow, r.version) IN (SELECT workflow, version FROM known)
    AND CASE WHEN r.lease_until IS NOT NULL THEN r.lease_until < clock_timestamp()
        ELSE r.run_at <= clock_timestamp()
            AND (r.limit_key IS NULL OR r.limit_key NOT IN (SELECT key FROM filled))
            AND (r.state = 'running' OR (
                r.control IS NULL AND (r.lock_key IS NULL OR r.lock_key NOT IN (SELECT lock_key FROM held))))
        END"""

# The distinct fair keys are walked through the index, one probe each: sorting all queued rows costs five times more.
# A row that is locked is skipped: its worker is writing, or frozen in a transaction that PostgreSQL will end.
CLAIM = f"""
SELECT set_config('jit', 'off', true), pg_advisory_xact_lock({CLAIM_LOCK});
INSERT INTO provisioning_queuepulse AS p (queue, looked_at) VALUES (%(queue)s, clock_timestamp())
    ON CONFLICT (queue) DO UPDATE SET looked_at = clock_timestamp()
    WHERE p.looked_at < clock_timestamp() - interval '10 seconds';
WITH RECURSIVE {BLOCKERS},
    fair (key) AS (
        (SELECT fair_key FROM provisioning_run
         WHERE queue = %(queue)s AND state IN ('queued', 'running') ORDER BY fair_key LIMIT 1)
        UNION ALL
        SELECT (SELECT fair_key FROM provisioning_run
                WHERE queue = %(queue)s AND state IN ('queued', 'running') AND fair_key > fair.key
                ORDER BY fair_key LIMIT 1)
        FROM fair WHERE fair.key IS NOT NULL
    ), picked AS MATERIALIZED (
        SELECT best.* FROM fair CROSS JOIN LATERAL (
            SELECT r.* FROM provisioning_run r
            WHERE r.fair_key = fair.key AND {RUNNABLE}
            ORDER BY r.priority, (r.state = 'queued'), r.run_at
            LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        ) best
        ORDER BY best.priority, (best.state = 'queued'),
            (SELECT count(*) FROM driven WHERE driven.fair_key = fair.key), best.run_at
        LIMIT 1
    ), died AS (
        INSERT INTO provisioning_runevent (run_id, step, direction, fence, owner, kind, at, detail, actor)
        SELECT id, step, direction, fence, owner, 'crashed', clock_timestamp(), 'The worker died or froze.', ''
        FROM picked WHERE lease_until IS NOT NULL
    )
UPDATE provisioning_run r SET
    state = 'running', fence = nextval('run_fence'), owner = %(owner)s,
    lease_until = clock_timestamp() + %(lease_s)s * interval '1 second',
    started_at = coalesce(r.started_at, clock_timestamp()),
    crashes = r.crashes + CASE WHEN picked.lease_until IS NULL THEN 0 ELSE 1 END
FROM picked WHERE r.id = picked.id
RETURNING r.id
"""


def claim(*, queue: Queue, known: Workflows) -> Run | None:
    """Take the next run of `queue` that this process has the code for, or None. The row carries our fence and lease.

    Sent as one message and so one transaction: a worker that freezes here cannot hold the lock against the others.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "queue": str(queue),
                "names": [name for name, _version in known],
                "versions": [version for _name, version in known],
                "owner": f"{socket.gethostname()[:100]}:{os.getpid()}",
                "lease_s": lease_s(),
            },
        )
        while cursor.nextset():
            pass
        row = cursor.fetchone()
    return None if row is None else Run.objects.get(pk=row[0])
