-- The tenant context of pooled tables. Installed, safely again and again, in each database that holds a pool, followed
-- by one of guard_parameter.sql and guard_seal.sql, which say how a context that was let in is kept.
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

-- The one refusal that anybody may ask for. STABLE, or no index could answer a policy that may call it.
CREATE OR REPLACE FUNCTION tenure_guard.no_context() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN tenure_guard.refuse('no context');
END $$;

-- A ticket in, a context for the rest of this transaction out. Two small look-ups and one expression: each statement in
-- here costs more than all the hashing. Both sides of a comparison are hashed first, so that its duration tells nothing.
CREATE OR REPLACE FUNCTION tenure_guard.enter(
    purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i bytea; o bytea; is_open boolean; t bytea; reason text; marked boolean;
BEGIN
    -- Marks this transaction as the tenant's, for whoever closes the door: see door.py. Taken before the door is looked
    -- at, so that who still found it open has the mark. It waits for nobody: a lock taken to spite us keeps nobody out.
    marked := pg_try_advisory_xact_lock_shared(uuid_hash_extended(tenant, 29));
    SELECT k.ipad, k.opad INTO i, o FROM tenure_guard.context_key k WHERE k.version = key_version;
    SELECT p.open INTO is_open FROM tenure_guard.placement p
        WHERE p.tenant = enter.tenant AND p.incarnation = enter.incarnation;
    t := sha256(o || sha256(i || 'K'::bytea || uuid_send(tenant) || uuid_send(incarnation)));
    reason := CASE
        WHEN (sha256(sha256(t || sha256(t || convert_to('T' || purpose, 'UTF8') || int8send(expires)))) = sha256(mac))
            IS NOT TRUE THEN 'forged ticket'
        WHEN to_timestamp(expires) NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '60 s'
            THEN 'expired ticket'
        -- A tenant's own login role is a boundary of its own: with it nobody enters as another, whatever they can sign.
        WHEN left(session_user, 2) = 't_' AND session_user <> 't_' || encode(uuid_send(tenant), 'hex')
            THEN 'role of another tenant'
        -- Erasing is ours alone. A policy could not tell it from writing without asking twice for each row that comes in.
        WHEN purpose = 'erase' AND NOT pg_has_role(session_user, 'tenure_owner', 'MEMBER') THEN 'no application erases'
        WHEN (CASE purpose WHEN 'use' THEN is_open WHEN 'erase' THEN NOT is_open END) IS NOT TRUE
            THEN 'tenant is not open here'
        ELSE tenure_guard.admit(tenant, i, o, key_version) END;
    IF reason IS NOT NULL THEN PERFORM tenure_guard.refuse(reason); END IF;
END $$;

-- `admit` keeps the context of a tenant that was let in, until the end of the transaction, and returns NULL. `tenant` is
-- what policies and defaults ask: whose rows this transaction works on. Nobody but `enter` may call the former.
