"""The audit log's tables, the one function that may add to them, and the triggers that refuse everything else."""

from django.db import migrations, models

TABLES = """
CREATE TABLE audit_chain (
    chain uuid PRIMARY KEY,
    size bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);
CREATE TABLE audit_entry (
    chain uuid NOT NULL REFERENCES audit_chain,
    seq bigint NOT NULL,
    prev bytea NOT NULL,
    body text NOT NULL,                                      -- the exact bytes that are hashed
    hash bytea NOT NULL,
    public jsonb GENERATED ALWAYS AS (body::jsonb) STORED,   -- the same, for queries
    entry uuid GENERATED ALWAYS AS ((body::jsonb ->> 'entry')::uuid) STORED,
    PRIMARY KEY (chain, seq),
    UNIQUE (entry),
    CONSTRAINT audit_entry_body_closed CHECK (
        body::jsonb ?& ARRAY['v', 'entry', 'at', 'action', 'actor', 'tenant', 'object_type', 'object_id', 'outcome',
                             'operation', 'request', 'keys', 'counts', 'commits']
        AND body::jsonb - ARRAY['v', 'entry', 'at', 'action', 'actor', 'tenant', 'object_type', 'object_id', 'outcome',
                                'operation', 'request', 'keys', 'counts', 'commits'] = '{}'::jsonb
    )
);                                                           -- no foreign key to a tenant or user: it outlives both
"""

# The chain's row is the lock that makes its numbers gapless: a sequence would leave holes where transactions roll back.
APPEND = r"""
CREATE FUNCTION audit_append(p_chain uuid, p_body text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    c audit_chain;
    h bytea;
BEGIN
    SELECT * INTO c FROM audit_chain WHERE chain = p_chain FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO audit_chain (chain) VALUES (p_chain) ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT c FROM audit_chain WHERE chain = p_chain FOR UPDATE;
    END IF;
    h := sha256('tenure/audit/1/entry'::bytea || '\x00'::bytea || uuid_send(p_chain) || int8send(c.size + 1)
                || c.head || convert_to(p_body, 'UTF8'));
    INSERT INTO audit_entry (chain, seq, prev, body, hash) VALUES (p_chain, c.size + 1, c.head, p_body, h);
    UPDATE audit_chain SET size = c.size + 1, head = h WHERE chain = p_chain;
    RETURN c.size + 1;
END $$;
REVOKE ALL ON FUNCTION audit_append(uuid, text) FROM PUBLIC;
"""

GUARDS = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'tenure: the audit log is append-only: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Write entries with audit.write; nothing changes or removes one.';
END $$;
CREATE TRIGGER audit_entry_kept BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_whole BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_kept BEFORE DELETE ON audit_chain FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_whole BEFORE TRUNCATE ON audit_chain FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_kept, ENABLE ALWAYS TRIGGER audit_entry_whole;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_chain_kept, ENABLE ALWAYS TRIGGER audit_chain_whole;
"""

REMOVE = """
DROP TABLE audit_entry, audit_chain;
DROP FUNCTION audit_append(uuid, text), audit_refuse();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0001_first_release'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditChain',
            fields=[
                ('chain', models.UUIDField(primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('head', models.BinaryField()),
            ],
            options={
                'db_table': 'audit_chain',
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('entry', models.UUIDField(primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField()),
                ('prev', models.BinaryField()),
                ('body', models.TextField()),
                ('hash', models.BinaryField()),
                ('public', models.JSONField()),
            ],
            options={
                'db_table': 'audit_entry',
                'ordering': ['chain', 'seq'],
                'managed': False,
            },
        ),
        migrations.RunSQL(TABLES + APPEND + GUARDS, REMOVE),
    ]
