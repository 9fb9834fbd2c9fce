-- The context is kept in a parameter of PostgreSQL's own that only this role may set (PostgreSQL 18, "GRANT", SET on
-- parameters): `backtrace_functions` takes a word, wants the right to be set, and does nothing for a name no function has.
-- No session can change it, not by SET, RESET, set_config, start-up options or ALTER ROLE; RESET ALL empties it, which is
-- no context. So a policy may believe it, and `tenant` is plain enough for the planner to put it in place of the call.

CREATE OR REPLACE FUNCTION tenure_guard.admit(tenant uuid, i bytea, o bytea, key_version text) RETURNS text
LANGUAGE sql VOLATILE
RETURN nullif(set_config('backtrace_functions', encode(uuid_send(tenant), 'hex'), true), encode(uuid_send(tenant), 'hex'));

CREATE OR REPLACE FUNCTION tenure_guard.tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN current_setting('backtrace_functions') = '' THEN tenure_guard.no_context()
            ELSE current_setting('backtrace_functions')::uuid END;
