"""Sealed personal values beside the audit log, and signed checkpoints over its chains."""

from django.db import migrations

TABLES = """
CREATE TABLE audit_payload (
    entry uuid NOT NULL REFERENCES audit_entry (entry),
    field text NOT NULL,
    key_id uuid NOT NULL,                                     -- of a data_key in the keyring database
    sealed bytea NOT NULL,
    PRIMARY KEY (entry, field)
);
CREATE INDEX audit_payload_key ON audit_payload (key_id);
CREATE TABLE audit_checkpoint (
    n bigint PRIMARY KEY,
    body text NOT NULL CHECK (body::jsonb ?& ARRAY['v', 'n', 'at', 'prev', 'chains', 'heads', 'key']),
    signature bytea NOT NULL
);
CREATE TABLE audit_sealed (                                   -- which part of a chain the checkpoints cover
    chain uuid PRIMARY KEY REFERENCES audit_chain,
    size bigint NOT NULL
);
CREATE INDEX audit_entry_committed ON audit_entry ((public ->> 'actor')) WHERE public -> 'commits' <> '{}'::jsonb;
CREATE INDEX audit_entry_erasures ON audit_entry (chain, seq)
    WHERE public ->> 'action' IN ('payload.erased', 'key.destroyed');
"""

GUARDS = """
CREATE TRIGGER audit_checkpoint_kept BEFORE UPDATE OR DELETE ON audit_checkpoint
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_checkpoint_whole BEFORE TRUNCATE ON audit_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_payload_kept BEFORE UPDATE ON audit_payload FOR EACH ROW EXECUTE FUNCTION audit_refuse();
ALTER TABLE audit_checkpoint
    ENABLE ALWAYS TRIGGER audit_checkpoint_kept, ENABLE ALWAYS TRIGGER audit_checkpoint_whole;
ALTER TABLE audit_payload ENABLE ALWAYS TRIGGER audit_payload_kept;
"""

REMOVE = """
DROP TABLE audit_payload, audit_checkpoint, audit_sealed;
DROP INDEX audit_entry_committed, audit_entry_erasures;
"""


class Migration(migrations.Migration):

    replaces = [('tenants', '0007_audit_evidence')]
    dependencies = [('tenants', '0002_audit_log')]

    operations = [
        migrations.RunSQL(TABLES + GUARDS, REMOVE),
    ]
