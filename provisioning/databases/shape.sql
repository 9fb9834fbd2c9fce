-- The shape of one schema, a line a thing. Run with the schema as the whole search path; see fingerprint.py for why.
-- What is in a schema depends on it: the catalogs' indexes begin with a name, and a fleet's catalogs are not read whole.
WITH member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
        AND refobjid = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)),
type AS MATERIALIZED (
    SELECT * FROM pg_type
    WHERE oid = ANY (ARRAY(SELECT objid FROM member WHERE classid = 'pg_type'::regclass))),
relation AS MATERIALIZED (
    SELECT * FROM pg_class WHERE oid = ANY (ARRAY(
        SELECT objid FROM member WHERE classid = 'pg_class'::regclass
        UNION ALL SELECT typrelid FROM type WHERE typtype = 'c'))),
line (kind, name, shape) AS (
    SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
               WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'composite type' END,
           relname::text,  -- else all names were cut to 63 bytes, table and column together
           concat_ws(' ',
               CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid, true) END,
               CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END,
               (SELECT 'child of ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
                FROM pg_inherits WHERE inhrelid = relation.oid),
               pg_get_expr(relpartbound, oid, true),
               CASE relpersistence WHEN 'u' THEN 'unlogged' END,
               CASE WHEN relrowsecurity THEN 'row security' END,
               CASE WHEN relforcerowsecurity THEN 'forced' END,
               array_to_string(reloptions, ', '))
    FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    UNION ALL
    SELECT 'column', r.relname || '.' || a.attname,
           concat_ws(' ',
               format_type(a.atttypid, a.atttypmod),
               CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || (
                   SELECT quote_ident(collname) FROM pg_collation WHERE oid = a.attcollation) END,
               CASE WHEN a.attnotnull THEN 'NOT NULL' END,
               CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
               CASE a.attgenerated WHEN 's' THEN 'generated stored' WHEN 'v' THEN 'generated virtual' END,
               'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid, true))
    FROM relation r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    UNION ALL
    SELECT 'constraint', r.relname || '.' || k.conname,
           concat_ws(' ', pg_get_constraintdef(k.oid, true), CASE WHEN NOT k.conenforced THEN 'not enforced' END)
    FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype <> 'n'
    UNION ALL
    SELECT 'index', r.relname || '.' || x.relname,
           concat_ws(' ', pg_get_indexdef(i.indexrelid, 0, true),
               CASE WHEN NOT i.indisvalid THEN 'invalid' END,
               CASE WHEN i.indisclustered THEN 'clustered' END,
               CASE WHEN i.indisreplident THEN 'replica identity' END)
    FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL
    SELECT 'sequence', r.relname,
           concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
               CASE WHEN s.seqcycle THEN 'cycle' END, 'owned by ' || t.relname || '.' || a.attname)
    FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.objsubid = 0
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class t ON t.oid = d.refobjid
    LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    UNION ALL
    SELECT 'trigger', r.relname || '.' || g.tgname, concat_ws(' ', pg_get_triggerdef(g.oid, true), g.tgenabled)
    FROM relation r JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT 'rule', r.relname || '.' || w.rulename, pg_get_ruledef(w.oid, true)
    FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', r.relname || '.' || p.polname,
           concat_ws(' ', p.polcmd, CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
               'USING ' || pg_get_expr(p.polqual, p.polrelid, true),
               'CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid, true))
    FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT 'statistics', e.stxname, pg_get_statisticsobjdef(e.oid)
    FROM pg_statistic_ext e
    WHERE e.oid = ANY (ARRAY(SELECT objid FROM member WHERE classid = 'pg_statistic_ext'::regclass))
    UNION ALL
    SELECT 'function', f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
           concat_ws(' ', f.prokind, l.lanname, pg_get_function_arguments(f.oid), pg_get_function_result(f.oid),
               f.provolatile, f.proparallel, CASE WHEN f.proisstrict THEN 'strict' END,
               CASE WHEN f.prosecdef THEN 'security definer' END, CASE WHEN f.proleakproof THEN 'leakproof' END,
               array_to_string(f.proconfig, ', '), f.prosrc, pg_get_function_sqlbody(f.oid))
    FROM pg_proc f JOIN pg_language l ON l.oid = f.prolang
    WHERE f.oid = ANY (ARRAY(SELECT objid FROM member WHERE classid = 'pg_proc'::regclass))
    UNION ALL
    SELECT 'type', y.typname,
           concat_ws(' ', CASE y.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'range' END,
               (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                FROM pg_enum WHERE enumtypid = y.oid),
               CASE WHEN y.typtype = 'd' THEN format_type(y.typbasetype, y.typtypmod) END,
               CASE WHEN y.typnotnull THEN 'NOT NULL' END,
               'DEFAULT ' || y.typdefault,
               (SELECT string_agg(pg_get_constraintdef(oid, true), ', ' ORDER BY conname)
                FROM pg_constraint WHERE contypid = y.oid))
    FROM type y WHERE y.typtype IN ('e', 'd', 'r')
    UNION ALL
    SELECT 'collation', o.collname,
           concat_ws(' ', o.collprovider, o.collisdeterministic, o.collcollate, o.collctype, o.colllocale)
    FROM pg_collation o
    WHERE o.oid = ANY (ARRAY(SELECT objid FROM member WHERE classid = 'pg_collation'::regclass))
),
plain (kind, name, shape) AS (
    SELECT kind, name, CASE WHEN kind = 'function' THEN shape ELSE
        regexp_replace(shape, '::(text|character varying)(\(\d+\))?(\[\])?', '', 'g') END
    FROM line)
SELECT replace(concat_ws(' ', kind, name || ':', shape), %(schema)s, '~') AS text FROM plain
