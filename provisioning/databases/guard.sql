-- The tenant context of pooled tables. Installed, safely again and again, in each database that holds a pool, behind
-- one of guard_parameter.sql and guard_seal.sql, which say how a context that was let in is kept.
-- Core functions only: HMAC(k, m) = sha256(opad || sha256(ipad || m)); whoever installs computes the two pads. What is
-- hashed (integers, uuids, timestamps) is in its fixed binary form, so no setting of a session can change a message.

CREATE TABLE IF NOT EXISTS tenure_guard.context_key (
    version text PRIMARY KEY CHECK (version ~ '^[1-9][0-9]{0,8}$'),
    ipad bytea NOT NULL CHECK (length(ipad) = 64),
    opad bytea NOT NULL CHECK (length(opad) = 64));

CREATE TABLE IF NOT EXISTS tenure_guard.placement (
    tenant uuid PRIMARY KEY, incarnation uuid NOT NULL, open boolean NOT NULL);

-- What signs the tickets of one life of a tenant.
CREATE OR REPLACE FUNCTION tenure_guard.key_of(tenant uuid, incarnation uuid, ipad bytea, opad bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE
RETURN sha256(opad || sha256(ipad || 'K'::bytea || uuid_send(tenant) || uuid_send(incarnation)));

-- `ticket_key` is what a transaction asks, made of the two tables whenever one of them is written, by whomever, in
-- whatever mode of a session (PostgreSQL 18, "ALTER TABLE", ENABLE ALWAYS TRIGGER). A key that comes while a tenant is
-- placed comes before it or after it: a key's writer holds a lock that the other one waits for.
CREATE OR REPLACE FUNCTION tenure_guard.placed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE tenure_guard.context_key IN SHARE MODE;
    DELETE FROM tenure_guard.ticket_key t WHERE t.tenant = coalesce(NEW.tenant, OLD.tenant);
    INSERT INTO tenure_guard.ticket_key (tenant, version, incarnation, open, key)
        SELECT NEW.tenant, k.version, NEW.incarnation, NEW.open,
               tenure_guard.key_of(NEW.tenant, NEW.incarnation, k.ipad, k.opad)
        FROM tenure_guard.context_key k WHERE TG_OP <> 'DELETE';
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tenure_guard.keyed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM tenure_guard.ticket_key;
    INSERT INTO tenure_guard.ticket_key (tenant, version, incarnation, open, key)
        SELECT p.tenant, k.version, p.incarnation, p.open, tenure_guard.key_of(p.tenant, p.incarnation, k.ipad, k.opad)
        FROM tenure_guard.placement p, tenure_guard.context_key k;
    RETURN NULL;
END $$;

-- Once, since making a trigger waits for whoever is placing a tenant.
DO $$
BEGIN
    IF to_regclass('tenure_guard.ticket_key') IS NULL THEN
        CREATE TABLE tenure_guard.ticket_key (
            tenant uuid, version text, incarnation uuid NOT NULL, open boolean NOT NULL, key bytea NOT NULL,
            PRIMARY KEY (tenant, version));
        CREATE TRIGGER placed AFTER INSERT OR UPDATE OR DELETE ON tenure_guard.placement
            FOR EACH ROW EXECUTE FUNCTION tenure_guard.placed();
        CREATE TRIGGER keyed AFTER INSERT OR UPDATE OR DELETE ON tenure_guard.context_key
            FOR EACH STATEMENT EXECUTE FUNCTION tenure_guard.keyed();
        ALTER TABLE tenure_guard.placement ENABLE ALWAYS TRIGGER placed;
        ALTER TABLE tenure_guard.context_key ENABLE ALWAYS TRIGGER keyed;
        UPDATE tenure_guard.context_key SET version = version;  -- `keyed` fills it
    END IF;
END $$;

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

-- Who has a good ticket is let in: NULL for everybody else. Both sides of the comparison are hashed first, so that its
-- duration tells nothing; and no part of a forged ticket makes an error of its own, which would tell who is here.
-- Erasing is ours alone; a policy could not tell it from writing without asking twice for each row that comes in. A
-- tenant's own login role is a boundary of its own: with it nobody enters as another, whatever they can sign. In the
-- language SQL, whose operators are looked up when a function is made, not by the path of who calls it.
CREATE OR REPLACE FUNCTION tenure_guard.let_in(
    marked boolean, purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
RETURNS text LANGUAGE sql
BEGIN ATOMIC
    SELECT tenure_guard.admit(let_in.tenant, key_version)
    FROM tenure_guard.ticket_key t
    WHERE t.tenant = let_in.tenant AND t.incarnation = let_in.incarnation AND t.version = key_version
    AND sha256(sha256(t.key || sha256(t.key || convert_to('T' || purpose, 'UTF8') || int8send(expires)))) = sha256(mac)
    AND expires BETWEEN date_part('epoch', clock_timestamp()) AND date_part('epoch', clock_timestamp()) + 60
    AND (session_user NOT LIKE 't\_%' OR session_user = 't_' || encode(uuid_send(let_in.tenant), 'hex'))
    AND CASE purpose WHEN 'use' THEN t.open
                     WHEN 'erase' THEN NOT t.open AND pg_has_role(session_user, 'tenure_owner', 'MEMBER') END;
END;

-- Says why somebody was not let in. It opens nothing, whatever it finds.
CREATE OR REPLACE FUNCTION tenure_guard.turn_away(
    purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key bytea := (SELECT tenure_guard.key_of(tenant, incarnation, k.ipad, k.opad)
                  FROM tenure_guard.context_key k WHERE k.version = key_version);
BEGIN
    RETURN tenure_guard.refuse(CASE
        WHEN sha256(sha256(key || sha256(key || convert_to('T' || purpose, 'UTF8') || int8send(expires))))
            IS DISTINCT FROM sha256(mac) OR key IS NULL THEN 'forged ticket'
        WHEN expires NOT BETWEEN date_part('epoch', clock_timestamp()) AND date_part('epoch', clock_timestamp()) + 60
            THEN 'expired ticket'
        WHEN session_user LIKE 't\_%' AND session_user <> 't_' || encode(uuid_send(tenant), 'hex')
            THEN 'role of another tenant'
        WHEN purpose = 'erase' AND NOT pg_has_role(session_user, 'tenure_owner', 'MEMBER') THEN 'no application erases'
        ELSE 'tenant is not open here' END);
END $$;

-- A ticket in, a context for the rest of this transaction out. First a mark on this transaction, as the tenant's, for
-- whoever closes the door: see door.py. It waits for nobody: a lock taken to spite us keeps nobody out. An argument of
-- `let_in`, so that who finds the door still open has the mark: a volatile function looks with a snapshot of its own.
CREATE OR REPLACE FUNCTION tenure_guard.enter(
    purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
RETURNS void LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    SELECT coalesce(
        tenure_guard.let_in(pg_try_advisory_xact_lock_shared(uuid_hash_extended(tenant, 29)),
                            purpose, tenant, incarnation, expires, key_version, mac),
        tenure_guard.turn_away(purpose, tenant, incarnation, expires, key_version, mac));
END;

DROP FUNCTION IF EXISTS tenure_guard.admit(uuid, bytea, bytea, text);
