"""Which run a worker drives next, and how many wait: functions, so that a session plans them once and not each time."""

from django.db import migrations

# Who holds a tenant, and which limits are full. Materialized, or they are computed again for each row looked at.
BLOCKERS = """
    known AS MATERIALIZED (
        SELECT * FROM unnest(p_names, p_versions) AS k (workflow, version)
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
    r.queue = p_queue AND r.state IN ('queued', 'running')
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
CREATE FUNCTION run_claim(p_queue text, p_names text[], p_versions int[], p_owner text, p_lease_s double precision)
RETURNS SETOF provisioning_run LANGUAGE plpgsql SET jit = off AS $$
BEGIN
    -- "Fewer are driven than the limit" is read, then written: one claim at a time. Each statement sees what is
    -- committed as it begins, the last one so what the last claim has written.
    PERFORM pg_advisory_xact_lock(x'54454E550001'::bigint);
    INSERT INTO provisioning_queuepulse AS p (queue, looked_at) VALUES (p_queue, clock_timestamp())
        ON CONFLICT (queue) DO UPDATE SET looked_at = clock_timestamp()
        WHERE p.looked_at < clock_timestamp() - interval '10 seconds';
    RETURN QUERY
    WITH RECURSIVE {BLOCKERS},
        fair (key) AS (
            (SELECT fair_key FROM provisioning_run
             WHERE queue = p_queue AND state IN ('queued', 'running') ORDER BY fair_key LIMIT 1)
            UNION ALL
            SELECT (SELECT fair_key FROM provisioning_run
                    WHERE queue = p_queue AND state IN ('queued', 'running') AND fair_key > fair.key
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
        state = 'running', fence = nextval('run_fence'), owner = p_owner,
        lease_until = clock_timestamp() + p_lease_s * interval '1 second',
        started_at = coalesce(r.started_at, clock_timestamp()),
        crashes = r.crashes + CASE WHEN picked.lease_until IS NULL THEN 0 ELSE 1 END
    FROM picked WHERE r.id = picked.id
    RETURNING r.*;
END $$
"""

WAITING = f"""
CREATE FUNCTION run_waiting(p_queue text, p_names text[], p_versions int[], OUT runnable bigint, OUT longest interval)
LANGUAGE plpgsql STABLE SET jit = off AS $$
BEGIN
    WITH {BLOCKERS}
    SELECT count(*), coalesce(max(clock_timestamp() - coalesce(r.lease_until, r.run_at)), interval '0')
    INTO runnable, longest
    FROM provisioning_run r WHERE {RUNNABLE};
END $$
"""

RUNS = {'model_name': 'run'}  # where these rows are: the keyring has none


class Migration(migrations.Migration):

    replaces = [('provisioning', '0006_claim')]
    dependencies = [('provisioning', '0001_first_release')]

    operations = [
        migrations.RunSQL(CLAIM, 'DROP FUNCTION run_claim', hints=RUNS),
        migrations.RunSQL(WAITING, 'DROP FUNCTION run_waiting', hints=RUNS),
    ]
