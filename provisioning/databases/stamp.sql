-- The stamp of a schema; see stamp.py for why it is right and quick. Installed, safely again and again, in each database.
CREATE OR REPLACE FUNCTION tenure.stamp(space regnamespace) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog
-- One plan for all schemas, by index whatever the statistics say: a schema is some thousand rows of huge catalogs.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    built_in CONSTANT oid := 12000;  -- below it ids are the same on every server of one version
    without_options CONSTANT oid[] := '{403, 405, 2742}';  -- B-tree, hash and GIN: their operator classes take none
    relations oid[]; holders oid[]; types oid[]; functions oid[]; statistics oid[]; collations oid[];
    indexes oid[]; named bigint[]; rows text; odd boolean; ruled boolean; others oid[]; expressed oid[]; strange oid[];
    line text; whole text := concat('5 ', current_setting('server_version_num')::int / 10000);
BEGIN
    -- What is in a schema depends on it; the index of pg_class begins with the name, and would be read whole.
    SELECT array_agg(objid ORDER BY objid) FILTER (WHERE classid = 'pg_class'::regclass),
           array_agg(objid) FILTER (WHERE classid = 'pg_type'::regclass),
           array_agg(objid) FILTER (WHERE classid = 'pg_proc'::regclass),
           array_agg(objid) FILTER (WHERE classid = 'pg_statistic_ext'::regclass),
           array_agg(objid) FILTER (WHERE classid = 'pg_collation'::regclass)
    INTO relations, types, functions, statistics, collations
    FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = space;
    SELECT array_agg(oid ORDER BY oid) FILTER (WHERE relkind <> 'S'),
           concat(count(*), ' ', sum(hashint8extended(width_bucket(oid, relations), hashnameextended(relname,
               hashcharextended(relkind, hashcharextended(relpersistence, hashboolextended(relrowsecurity,
               hashboolextended(relforcerowsecurity, coalesce(hash_array_extended(reloptions, 1), 0))))))))),
           bool_or(relkind IN ('v', 'm', 'p') OR relpartbound IS NOT NULL), bool_or(relhasrules)
    INTO holders, rows, odd, ruled
    FROM pg_class WHERE oid = ANY (relations) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S');
    whole := concat(whole, E'\nrelations ', rows);
    IF odd THEN
        SELECT string_agg(ROW(width_bucket(oid, relations),
            CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END,
            CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END, pg_get_expr(relpartbound, oid, true))::text,
            E'\n' ORDER BY oid)
        INTO line FROM pg_class
        WHERE oid = ANY (holders) AND (relkind IN ('v', 'm', 'p') OR relpartbound IS NOT NULL);
        whole := concat(whole, E'\nviews and partitions ', line);
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

    SELECT concat(count(*), ' ', sum(hashint8extended(width_bucket(a.attrelid, relations), hashint2extended(a.attnum,
            hashnameextended(a.attname, hashoidextended(CASE WHEN a.atttypid < built_in THEN a.atttypid ELSE 0 END,
            hashint4extended(a.atttypmod,
            hashoidextended(CASE WHEN a.attcollation < built_in THEN a.attcollation ELSE built_in END,
            hashboolextended(a.attnotnull, hashcharextended(a.attidentity,
            hashcharextended(a.attgenerated, 2))))))))))),
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

    SELECT concat(count(*), ' ', sum(hashint8extended(width_bucket(k.conrelid, relations), hashnameextended(k.conname,
            hashcharextended(k.contype, hashint4extended(width_bucket(k.confrelid, relations),
            hashcharextended(k.confmatchtype, hashcharextended(k.confupdtype, hashcharextended(k.confdeltype,
            hashboolextended(k.condeferrable, hashboolextended(k.condeferred, hashboolextended(k.convalidated,
            hashboolextended(k.conperiod, hashboolextended(k.conenforced,
                coalesce(hash_array_extended(k.conkey, 3), 0) # coalesce(hash_array_extended(k.confkey, 4), 0)
                # coalesce(hash_array_extended(k.confdelsetcols, 5), 0))))))))))))))),
        array_agg(k.oid) FILTER (WHERE k.contype NOT IN ('p', 'u', 'f')
            OR k.contype = 'f' AND NOT k.confrelid = ANY (holders))
    INTO rows, others FROM pg_constraint k WHERE k.conrelid = ANY (holders) AND k.contype <> 'n';
    whole := concat(whole, E'\nconstraints ', rows);
    IF others IS NOT NULL THEN
        -- A check is read as it is kept, unless it depends on more than columns: then there are ids in it.
        SELECT array_agg(objid) INTO strange FROM pg_depend
        WHERE classid = 'pg_constraint'::regclass AND objid = ANY (others) AND refclassid <> 'pg_class'::regclass;
        SELECT string_agg(ROW(width_bucket(conrelid, relations), conname, connoinherit,
            CASE WHEN contype = 'c' AND (oid = ANY (strange)) IS NOT TRUE THEN conbin::text
                ELSE pg_get_constraintdef(oid, true) END)::text, E'\n' ORDER BY conrelid, conname)
        INTO line FROM pg_constraint WHERE oid = ANY (others);
        whole := concat(whole, E'\nother constraints ', line);
    END IF;

    -- By name, not in the order they were made: an index is made anew by whoever reindexes without a lock.
    SELECT array_agg(indexrelid ORDER BY indexrelid),
        array_agg(indexrelid) FILTER (WHERE indexprs IS NOT NULL OR indpred IS NOT NULL)
    INTO indexes, expressed FROM pg_index WHERE indrelid = ANY (holders);
    SELECT array_agg(hashnameextended(relname, hashcharextended(relkind,
            hashoidextended(CASE WHEN relam < built_in THEN relam ELSE 0 END,
            coalesce(hash_array_extended(reloptions, 6), 0)))) ORDER BY oid),
        array_agg(oid) FILTER (WHERE relam <> ALL (without_options))
    INTO named, others FROM pg_class WHERE oid = ANY (indexes);
    IF expressed IS NOT NULL THEN
        -- So is an expression.
        SELECT array_agg(objid) INTO strange FROM pg_depend WHERE classid = 'pg_class'::regclass
            AND objid = ANY (expressed) AND refclassid NOT IN ('pg_class'::regclass, 'pg_constraint'::regclass);
        others := others || strange;
    END IF;
    SELECT concat(count(*), ' ', sum(hashint8extended(width_bucket(i.indrelid, relations),
            hashint8extended(named[width_bucket(i.indexrelid, indexes)],
            hashoidvectorextended(CASE WHEN built_in > ALL (i.indclass::oid[]) THEN i.indclass ELSE '' END,
            hashoidvectorextended(CASE WHEN built_in > ALL (i.indcollation::oid[]) THEN i.indcollation ELSE '' END,
            hashint2extended(i.indnkeyatts, hashboolextended(i.indisunique, hashboolextended(i.indnullsnotdistinct,
            hashboolextended(i.indisvalid, hashboolextended(i.indisclustered, hashboolextended(i.indisreplident,
                hash_array_extended(i.indkey::int2[], 6) # hash_array_extended(i.indoption::int2[], 7)
                # CASE WHEN i.indexrelid = ANY (expressed) AND (i.indexrelid = ANY (strange)) IS NOT TRUE
                    THEN hashtextextended(ROW(i.indexprs, i.indpred)::text, 11) ELSE 0 END)))))))))))),
        others || array_agg(i.indexrelid) FILTER (
            WHERE NOT (built_in > ALL (i.indclass::oid[]) AND built_in > ALL (i.indcollation::oid[])))
    INTO rows, others FROM pg_index i WHERE i.indrelid = ANY (holders);
    whole := concat(whole, E'\nindexes ', rows);
    IF others IS NOT NULL THEN
        SELECT string_agg(ROW(relname, pg_get_indexdef(oid, 0, true))::text, E'\n' ORDER BY relname)
        INTO line FROM pg_class WHERE oid = ANY (others);
        whole := concat(whole, E'\nother indexes ', line);
    END IF;

    SELECT concat(count(*), ' ', sum(hashint8extended(width_bucket(seqrelid, relations), hashoidextended(seqtypid,
            hashboolextended(seqcycle, hashtextextended(
                concat_ws(' ', seqstart, seqincrement, seqmin, seqmax, seqcache), 8))))))
    INTO rows FROM pg_sequence WHERE seqrelid = ANY (relations);
    whole := concat(whole, E'\nsequences ', rows);
    SELECT concat(count(*), ' ', sum(hashint8extended(width_bucket(objid, relations),
            hashint4extended(width_bucket(refobjid, relations), hashint4extended(refobjsubid, 10))))),
        string_agg(ROW(width_bucket(objid, relations), refobjid::regclass)::text, ' ' ORDER BY objid)
            FILTER (WHERE NOT refobjid = ANY (holders))
    INTO rows, line FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = ANY (relations) AND objsubid = 0
        AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i');
    whole := concat(whole, E'\nowners of sequences ', rows, ' ', line);

    SELECT string_agg(ROW(width_bucket(inhrelid, relations), inhparent::regclass)::text, E'\n'
        ORDER BY inhrelid, inhseqno)
    INTO line FROM pg_inherits WHERE inhrelid = ANY (holders);
    whole := concat(whole, E'\nparents ', line);

    SELECT string_agg(ROW(width_bucket(tgrelid, relations), tgname, tgenabled, pg_get_triggerdef(oid, true))::text,
        E'\n' ORDER BY tgrelid, tgname)
    INTO line FROM pg_trigger WHERE tgrelid = ANY (holders) AND NOT tgisinternal;
    whole := concat(whole, E'\ntriggers ', line);

    IF ruled THEN
        SELECT string_agg(ROW(width_bucket(ev_class, relations), rulename, pg_get_ruledef(oid, true))::text,
            E'\n' ORDER BY ev_class, rulename)
        INTO line FROM pg_rewrite WHERE ev_class = ANY (holders) AND rulename <> '_RETURN';
        whole := concat(whole, E'\nrules ', line);
    END IF;

    SELECT string_agg(ROW(width_bucket(polrelid, relations), polname, polcmd, polpermissive,
        pg_get_expr(polqual, polrelid, true), pg_get_expr(polwithcheck, polrelid, true))::text,
        E'\n' ORDER BY polrelid, polname)
    INTO line FROM pg_policy WHERE polrelid = ANY (holders);
    whole := concat(whole, E'\npolicies ', line);

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
    RETURN encode(sha256(convert_to(replace(whole, space::text, '~'), 'UTF8')), 'hex');
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
