-- The stamp of a schema; see stamp.py for why it is right and quick. Installed, safely again and again, in each database.
CREATE OR REPLACE FUNCTION tenure.stamp(space regnamespace) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog
-- One plan for all schemas, by index whatever the statistics say: a schema is some thousand rows of huge catalogs. By
-- bitmap, as many rows of one schema lie on a page.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_indexscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    built_in CONSTANT oid := 12000;  -- below it ids are the same on every server of one version
    without_options CONSTANT oid[] := '{403, 405, 2742}';  -- B-tree, hash and GIN: their operator classes take none
    -- `(SELECT relations)`: taken from PL/pgSQL once a statement, not once a row.
    relations oid[]; holders oid[]; types oid[]; functions oid[]; statistics oid[]; collations oid[];
    indexes oid[]; defined bigint[]; named CONSTANT text := space::text;
    rows text; odd boolean; line text; whole text := concat('6 ', current_setting('server_version_num')::int / 10000);
BEGIN
    -- What is in a schema depends on it; the index of pg_class begins with the name, and would be read whole.
    SELECT array_agg(objid) FILTER (WHERE classid = 'pg_class'::regclass), bool_or(classid <> 'pg_class'::regclass)
    INTO relations, odd FROM (SELECT classid, objid FROM pg_depend
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = space ORDER BY objid) AS member;
    IF odd THEN
        SELECT array_agg(objid) FILTER (WHERE classid = 'pg_type'::regclass),
               array_agg(objid) FILTER (WHERE classid = 'pg_proc'::regclass),
               array_agg(objid) FILTER (WHERE classid = 'pg_statistic_ext'::regclass),
               array_agg(objid) FILTER (WHERE classid = 'pg_collation'::regclass)
        INTO types, functions, statistics, collations
        FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = space;
    END IF;
    SELECT array_agg(oid) FILTER (WHERE relkind <> 'S'),
           sum(hashint4extended(width_bucket(oid, relations), hashnameextended(relname,
               hashcharextended(relkind, hashcharextended(relpersistence, hashboolextended(relrowsecurity,
               hashboolextended(relforcerowsecurity, coalesce(hash_array_extended(reloptions, 1), 0)))))))),
           bool_or(relhasrules OR relispartition OR relkind = 'p')
    INTO holders, rows, odd FROM pg_class WHERE oid = ANY (relations);
    whole := concat(whole, E'\nrelations ', rows);
    IF odd THEN
        SELECT string_agg(ROW(width_bucket(oid, relations),
            CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END,
            CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END, pg_get_expr(relpartbound, oid, true))::text,
            E'\n' ORDER BY oid)
        INTO line FROM pg_class
        WHERE oid = ANY (holders) AND (relkind IN ('v', 'm', 'p') OR relispartition);
        whole := concat(whole, E'\nviews and partitions ', line);
        SELECT string_agg(ROW(width_bucket(ev_class, relations), rulename, pg_get_ruledef(oid, true))::text,
            E'\n' ORDER BY ev_class, rulename)
        INTO line FROM pg_rewrite WHERE ev_class = ANY (holders) AND rulename <> '_RETURN';
        whole := concat(whole, E'\nrules ', line);
    END IF;

    IF types IS NOT NULL THEN
        SELECT relations || array_agg(typrelid), holders || array_agg(typrelid)
        INTO relations, holders FROM pg_type WHERE oid = ANY (types) AND typtype = 'c';
        relations := ARRAY(SELECT unnest(relations) ORDER BY 1);
        SELECT string_agg(ROW(width_bucket(typrelid, relations), typname)::text, E'\n' ORDER BY typrelid)
        INTO line FROM pg_type WHERE oid = ANY (types) AND typtype = 'c';
        whole := concat(whole, E'\ncomposites ', line);
        SELECT string_agg(ROW(y.typname, y.typtype, y.typnotnull, y.typdefault, format_type(y.typbasetype, y.typtypmod),
            y.typcollation::regcollation,
            (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid),
            (SELECT array_agg(ROW(conname, pg_get_constraintdef(oid, true)) ORDER BY conname)
             FROM pg_constraint WHERE contypid = y.oid))::text, E'\n' ORDER BY y.typname)
        INTO line FROM pg_type y WHERE y.oid = ANY (types) AND y.typtype IN ('e', 'd', 'r');
        whole := concat(whole, E'\ntypes ', line);
    END IF;

    SELECT sum(hashint4extended(width_bucket(a.attrelid, (SELECT relations)), hashint2extended(a.attnum,
            hashnameextended(a.attname, hashoidextended(CASE WHEN a.atttypid < built_in THEN a.atttypid ELSE 0 END,
            hashint4extended(a.atttypmod,
            hashoidextended(CASE WHEN a.attcollation < built_in THEN a.attcollation ELSE built_in END,
            hashboolextended(a.attnotnull, hashcharextended(a.attidentity,
            hashcharextended(a.attgenerated, 2)))))))))),
        bool_or(a.atttypid >= built_in OR a.attcollation >= built_in OR a.atthasdef)
    INTO rows, odd FROM pg_attribute a WHERE a.attrelid = ANY (holders) AND a.attnum > 0 AND NOT a.attisdropped;
    whole := concat(whole, E'\ncolumns ', rows);
    IF odd THEN
        SELECT string_agg(ROW(width_bucket(a.attrelid, relations), a.attnum,
            CASE WHEN a.atttypid >= built_in THEN (SELECT ROW(format_type(oid, NULL), typcollation::regcollation)::text
                FROM pg_type WHERE oid = a.atttypid) END,
            CASE WHEN a.attcollation >= built_in THEN a.attcollation::regcollation END,
            CASE WHEN a.atthasdef THEN (SELECT pg_get_expr(adbin, adrelid, true) FROM pg_attrdef
                WHERE adrelid = a.attrelid AND adnum = a.attnum) END)::text, E'\n' ORDER BY a.attrelid, a.attnum)
        INTO line FROM pg_attribute a WHERE a.attrelid = ANY (holders) AND a.attnum > 0 AND NOT a.attisdropped
            AND (a.atttypid >= built_in OR a.attcollation >= built_in OR a.atthasdef);
        whole := concat(whole, E'\ntypes and defaults ', line);
    END IF;

    -- A check is read as it is kept, unless it depends on more than columns: then there are ids in it. LIMIT 1, since
    -- an EXISTS may be answered by reading all of pg_depend, if the statistics say that it is small.
    SELECT sum(hashint4extended(width_bucket(k.conrelid, (SELECT relations)), hashnameextended(k.conname,
            hashcharextended(k.contype, hashint4extended(width_bucket(k.confrelid, (SELECT relations)),
            hashcharextended(k.confmatchtype, hashcharextended(k.confupdtype, hashcharextended(k.confdeltype,
            hashboolextended(k.condeferrable, hashboolextended(k.condeferred, hashboolextended(k.convalidated,
            hashboolextended(k.conperiod, hashboolextended(k.conenforced, hashboolextended(k.connoinherit,
                coalesce(hash_array_extended(k.conkey, 3), 0) # coalesce(hash_array_extended(k.confkey, 4), 0)
                # coalesce(hash_array_extended(k.confdelsetcols, 5), 0)
                # CASE WHEN k.contype IN ('p', 'u') OR k.contype = 'f' AND k.confrelid = ANY (holders) THEN 0
                    WHEN k.contype = 'c' AND (
                        SELECT true FROM pg_depend WHERE classid = 'pg_constraint'::regclass AND objid = k.oid
                            AND refclassid <> 'pg_class'::regclass LIMIT 1) IS NULL
                    THEN hashtextextended(k.conbin::text, 6)
                    ELSE hashtextextended(replace(pg_get_constraintdef(k.oid, true), named, '~'), 7)
                    END))))))))))))))
    INTO rows FROM pg_constraint k WHERE k.conrelid = ANY (holders) AND k.contype <> 'n';
    whole := concat(whole, E'\nconstraints ', rows);

    -- By name, not in the order they were made: an index is made anew by whoever reindexes without a lock.
    SELECT array_agg(indexrelid), array_agg(hash) INTO indexes, defined FROM (
        SELECT i.indexrelid, hashint4extended(width_bucket(i.indrelid, (SELECT relations)),
                hashint2extended(i.indnkeyatts, hashboolextended(i.indisunique, hashboolextended(i.indnullsnotdistinct,
                hashboolextended(i.indisvalid, hashboolextended(i.indisclustered, hashboolextended(i.indisreplident,
                    hash_array_extended(i.indkey::int2[], 8) # hash_array_extended(i.indoption::int2[], 9)
                    # CASE WHEN built_in > ALL (i.indclass::oid[]) AND built_in > ALL (i.indcollation::oid[]) AND (
                            i.indexprs IS NULL AND i.indpred IS NULL OR (
                            SELECT true FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = i.indexrelid
                                AND refclassid NOT IN ('pg_class'::regclass, 'pg_constraint'::regclass) LIMIT 1
                            ) IS NULL)
                        THEN hashoidvectorextended(i.indclass, hashoidvectorextended(i.indcollation,
                            CASE WHEN i.indexprs IS NULL AND i.indpred IS NULL THEN 10
                                ELSE hashtextextended(ROW(i.indexprs, i.indpred)::text, 11) END))
                        ELSE hashtextextended(replace(pg_get_indexdef(i.indexrelid, 0, true), named, '~'), 12)
                        END))))))) AS hash
        FROM pg_index i WHERE i.indrelid = ANY (holders) ORDER BY i.indexrelid) AS index;
    SELECT sum(hashnameextended(relname, hashcharextended(relkind,
            hashoidextended(CASE WHEN relam < built_in THEN relam ELSE 0 END,
                defined[width_bucket(oid, (SELECT indexes))] # coalesce(hash_array_extended(reloptions, 13), 0)
                # CASE WHEN relam = ANY (without_options) THEN 0
                    ELSE hashtextextended(replace(pg_get_indexdef(oid, 0, true), named, '~'), 14) END))))
    INTO rows FROM pg_class WHERE oid = ANY (indexes);
    whole := concat(whole, E'\nindexes ', rows);

    SELECT sum(hashint4extended(width_bucket(seqrelid, relations), hashoidextended(seqtypid, hashboolextended(seqcycle,
            hashint8extended(seqstart, hashint8extended(seqincrement, hashint8extended(seqmin,
            hashint8extended(seqmax, hashint8extended(seqcache, 15)))))))))
    INTO rows FROM pg_sequence WHERE seqrelid = ANY (relations);
    whole := concat(whole, E'\nsequences ', rows);
    -- What a sequence belongs to, which lies in its own schema; and whether a table has parents, whose order counts.
    SELECT sum(hashint4extended(width_bucket(objid, relations), hashint4extended(width_bucket(refobjid, relations),
            hashint4extended(refobjsubid, 16)))),
        bool_or(refobjsubid = 0)
    INTO rows, odd FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = ANY (relations) AND objsubid = 0
        AND refclassid = 'pg_class'::regclass;
    whole := concat(whole, E'\nowners of sequences ', rows);
    IF odd THEN
        SELECT string_agg(ROW(width_bucket(inhrelid, relations), inhparent::regclass)::text, E'\n'
            ORDER BY inhrelid, inhseqno)
        INTO line FROM pg_inherits WHERE inhrelid = ANY (holders);
        whole := concat(whole, E'\nparents ', line);
    END IF;

    -- Triggers and policies depend on their table as a whole; the triggers behind a foreign key depend on that. Their
    -- kind is no condition: by the index of what depends, without statistics, those of all schemas would be read.
    SELECT bool_or(classid IN ('pg_trigger'::regclass, 'pg_policy'::regclass)) INTO odd FROM pg_depend
    WHERE refclassid = 'pg_class'::regclass AND refobjid = ANY (holders) AND refobjsubid = 0;
    IF odd THEN
        SELECT string_agg(ROW(width_bucket(tgrelid, relations), tgname, tgenabled, pg_get_triggerdef(oid, true))::text,
            E'\n' ORDER BY tgrelid, tgname)
        INTO line FROM pg_trigger WHERE tgrelid = ANY (holders) AND NOT tgisinternal;
        whole := concat(whole, E'\ntriggers ', line);
        SELECT string_agg(ROW(width_bucket(polrelid, relations), polname, polcmd, polpermissive,
            pg_get_expr(polqual, polrelid, true), pg_get_expr(polwithcheck, polrelid, true))::text,
            E'\n' ORDER BY polrelid, polname)
        INTO line FROM pg_policy WHERE polrelid = ANY (holders);
        whole := concat(whole, E'\npolicies ', line);
    END IF;

    IF statistics IS NOT NULL THEN
        SELECT string_agg(ROW(stxname, pg_get_statisticsobjdef(oid))::text, E'\n' ORDER BY stxname)
        INTO line FROM pg_statistic_ext WHERE oid = ANY (statistics);
        whole := concat(whole, E'\nstatistics ', line);
    END IF;
    IF functions IS NOT NULL THEN
        SELECT string_agg(ROW(f.proname, pg_get_function_identity_arguments(f.oid), f.prokind, l.lanname,
            pg_get_function_arguments(f.oid), pg_get_function_result(f.oid), f.provolatile, f.proparallel,
            f.proisstrict, f.prosecdef, f.proleakproof, f.proconfig, f.prosrc, pg_get_function_sqlbody(f.oid))::text,
            E'\n' ORDER BY f.proname, pg_get_function_identity_arguments(f.oid) COLLATE "C")
        INTO line FROM pg_proc f JOIN pg_language l ON l.oid = f.prolang WHERE f.oid = ANY (functions);
        whole := concat(whole, E'\nfunctions ', line);
    END IF;
    IF collations IS NOT NULL THEN
        SELECT string_agg(ROW(collname, collprovider, collisdeterministic, collcollate, collctype, colllocale)::text,
            E'\n' ORDER BY collname)
        INTO line FROM pg_collation WHERE oid = ANY (collations);
        whole := concat(whole, E'\ncollations ', line);
    END IF;
    RETURN encode(sha256(convert_to(replace(whole, named, '~'), 'UTF8')), 'hex');
END $$;
REVOKE ALL ON FUNCTION tenure.stamp FROM PUBLIC;

CREATE OR REPLACE FUNCTION tenure.demand(space regnamespace, stamps text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF (tenure.stamp(space) = ANY (stamps)) IS NOT TRUE THEN
        RAISE EXCEPTION 'Nobody knows this stamp.' USING ERRCODE = 'TN005';
    END IF;
END $$;
REVOKE ALL ON FUNCTION tenure.demand FROM PUBLIC;
