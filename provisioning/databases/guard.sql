-- The signed tenant context of pooled tables. Installed, safely again and again, in each database that holds a pool.
-- Core functions only: HMAC(k, m) = sha256(opad || sha256(ipad || m)); whoever installs computes the two pads. Integers,
-- uuids and timestamps are hashed in their fixed binary form, so no setting of a session can change a message.

CREATE TABLE IF NOT EXISTS tenure_guard.context_key (
    version text PRIMARY KEY CHECK (version ~ '^[1-9][0-9]{0,8}$'),
    ipad bytea NOT NULL CHECK (length(ipad) = 64),
    opad bytea NOT NULL CHECK (length(opad) = 64));

CREATE TABLE IF NOT EXISTS tenure_guard.placement (
    tenant uuid PRIMARY KEY, incarnation uuid NOT NULL, open boolean NOT NULL);

-- The line in the server's log stays, even where the caller swallows the error.
CREATE OR REPLACE FUNCTION tenure_guard.refuse(reason text) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE LOG 'tenure: refused: % (role %, pid %)', reason, session_user, pg_backend_pid();
    RAISE EXCEPTION 'tenant context refused: %', reason USING ERRCODE = '42501';
END $$;

-- A ticket in, a seal out: `uuid.mac.<key version>` in the setting tenure.seal, for this transaction of this session
-- alone. Both sides of a comparison are hashed first, so that its duration tells nothing about the right one.
CREATE OR REPLACE FUNCTION tenure_guard.enter(
    purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i bytea; o bytea; t bytea; is_open boolean; now_s numeric := extract(epoch FROM clock_timestamp());
BEGIN
    -- One query, since each costs more than all the hashing.
    SELECT k.ipad, k.opad, p.open INTO i, o, is_open FROM tenure_guard.context_key k LEFT JOIN tenure_guard.placement p
        ON p.tenant = enter.tenant AND p.incarnation = enter.incarnation WHERE k.version = key_version;
    t := sha256(o || sha256(i || 'K'::bytea || uuid_send(tenant) || uuid_send(incarnation)));
    IF (sha256(sha256(t || sha256(t || convert_to('T' || purpose, 'UTF8') || int8send(expires)))) = sha256(mac))
        IS NOT TRUE THEN PERFORM tenure_guard.refuse('forged ticket'); END IF;
    IF expires NOT BETWEEN now_s AND now_s + 60 THEN PERFORM tenure_guard.refuse('expired ticket'); END IF;
    -- A tenant's own login role is a boundary of its own: with it nobody enters as another, whatever they can sign.
    IF left(session_user, 2) = 't_' AND session_user <> 't_' || encode(uuid_send(tenant), 'hex')
        THEN PERFORM tenure_guard.refuse('role of another tenant'); END IF;
    -- Erasing is ours alone. A policy could not tell it from writing without asking twice for each row that comes in.
    IF purpose = 'erase' AND NOT pg_has_role(session_user, 'tenure_owner', 'MEMBER')
        THEN PERFORM tenure_guard.refuse('no application erases'); END IF;
    IF (CASE purpose WHEN 'use' THEN is_open WHEN 'erase' THEN NOT is_open END) IS NOT TRUE
        THEN PERFORM tenure_guard.refuse('tenant is not open here'); END IF;
    PERFORM set_config('tenure.seal', tenant || '.' || encode(sha256(o || sha256(i || 'S'::bytea
        || convert_to(tenant::text, 'UTF8') || int4send(pg_backend_pid())
        || timestamptz_send(transaction_timestamp()))), 'hex') || '.' || key_version, true);
END $$;

-- Whose rows this transaction works on. Policies call it in a sub-select: once per table of a statement, and kept for
-- the whole of it, so that a statement cannot change its tenant while it runs.
CREATE OR REPLACE FUNCTION tenure_guard.tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seal text := current_setting('tenure.seal', true);   -- uuid 36 . mac 64 . key version
    i bytea; o bytea;
BEGIN
    IF coalesce(seal, '') = '' THEN RETURN tenure_guard.refuse('no context'); END IF;
    SELECT ipad, opad INTO i, o FROM tenure_guard.context_key WHERE version = substr(seal, 103);
    IF (sha256(convert_to(encode(sha256(o || sha256(i || 'S'::bytea
        || convert_to(left(seal, 36), 'UTF8') || int4send(pg_backend_pid())
        || timestamptz_send(transaction_timestamp()))), 'hex'), 'UTF8'))
        = sha256(convert_to(substr(seal, 38, 64), 'UTF8'))) IS NOT TRUE
        THEN RETURN tenure_guard.refuse('bad seal'); END IF;
    RETURN left(seal, 36);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tenure_guard FROM PUBLIC;
