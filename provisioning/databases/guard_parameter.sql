-- The context is kept in a parameter of PostgreSQL's own that only this role may set (PostgreSQL 18, "GRANT", SET on
-- parameters): `backtrace_functions` takes a word, wants the right to be set, and does nothing for a name no function has.
-- No session can change it, not by SET, RESET, set_config, start-up options or ALTER ROLE; RESET ALL empties it, which is
-- no context. So a policy may believe it, and asks `tenant` where there is none alone.

CREATE OR REPLACE FUNCTION tenure_guard.admit(tenant uuid, key_version text) RETURNS text
LANGUAGE sql VOLATILE
RETURN set_config('backtrace_functions', encode(uuid_send(tenant), 'hex'), true);

-- In a language that the planner does not put in place of the call: that costs more than all the rest of a policy.
CREATE OR REPLACE FUNCTION tenure_guard.tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN tenure_guard.no_context();
END $$;
