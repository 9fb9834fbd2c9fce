-- Ends the transaction unless a schema is on the source of a path; see replaying/places.py, whose digest this reckons.
-- A function, since PL/pgSQL in a DO block is compiled anew for each target. What is not there does no harm: PL/pgSQL
-- looks at a statement when it is its turn.
CREATE OR REPLACE FUNCTION tenure.depart(space text, source_digest text, target_digest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    standing text; number bigint; hashes numeric;
BEGIN
    IF to_regclass('tenure.replay') IS NOT NULL THEN
        IF EXISTS (SELECT FROM tenure.replay WHERE target = space) THEN
            RAISE EXCEPTION 'It is between two releases.' USING ERRCODE = 'TN003';
        END IF;
    END IF;
    IF to_regclass(format('%I.django_migrations', space)) IS NOT NULL THEN
        -- Made one text here, where that is planned once a session.
        EXECUTE format(
            'SELECT count(*), sum(hashtextextended(name, hashtextextended(app, 0))) FROM %I.django_migrations', space)
        INTO number, hashes;
        standing := concat(number, ':', coalesce(hashes, 0));
    END IF;
    IF standing = target_digest THEN
        RAISE EXCEPTION 'It is there already.' USING ERRCODE = 'TN001';
    ELSIF standing IS DISTINCT FROM source_digest THEN
        RAISE EXCEPTION 'Its migrations are those of neither release.' USING ERRCODE = 'TN002';
    END IF;
END $$;
REVOKE ALL ON FUNCTION tenure.depart FROM PUBLIC;
