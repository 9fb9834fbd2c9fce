-- For servers where nobody can grant SET on a parameter. The context is kept in a setting that every session may write,
-- so it carries a proof: `uuid.mac.<key version>` in tenure.seal, good for this transaction of this session alone. It is
-- checked at each look, which costs some 10 µs a table of a statement, and as much a row where no index answers.

CREATE OR REPLACE FUNCTION tenure_guard.admit(tenant uuid, key_version text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i bytea; o bytea;
BEGIN
    SELECT ipad, opad INTO i, o FROM tenure_guard.context_key WHERE version = key_version;
    RETURN set_config('tenure.seal', tenant || '.' || encode(sha256(o || sha256(i || 'S'::bytea
        || convert_to(tenant::text, 'UTF8') || int4send(pg_backend_pid())
        || timestamptz_send(transaction_timestamp()))), 'hex') || '.' || key_version, true);
END $$;

CREATE OR REPLACE FUNCTION tenure_guard.tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seal text := current_setting('tenure.seal', true);   -- uuid 36 . mac 64 . key version
    i bytea; o bytea;
BEGIN
    IF coalesce(seal, '') = '' THEN RETURN tenure_guard.no_context(); END IF;
    SELECT ipad, opad INTO i, o FROM tenure_guard.context_key WHERE version = substr(seal, 103);
    IF (sha256(convert_to(encode(sha256(o || sha256(i || 'S'::bytea
        || convert_to(left(seal, 36), 'UTF8') || int4send(pg_backend_pid())
        || timestamptz_send(transaction_timestamp()))), 'hex'), 'UTF8'))
        = sha256(convert_to(substr(seal, 38, 64), 'UTF8'))) IS NOT TRUE
        THEN RETURN tenure_guard.refuse('bad seal'); END IF;
    RETURN left(seal, 36);
END $$;
