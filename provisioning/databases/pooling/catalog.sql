-- What could let one tenant of a pool reach another's rows: code, subject, message, repair. See catalog.py.
-- Run with an empty search path, so that every name is written out.
WITH relation AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
           format('%%I.%%I', n.nspname, c.relname) AS name, c.relname = ANY (%(shared)s::text[]) AS shared
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s::text),
pooled AS MATERIALIZED (
    SELECT r.*, t.attnum AS tenant FROM relation r
    LEFT JOIN pg_attribute t ON t.attrelid = r.oid AND t.attname = %(tenant)s::text AND NOT t.attisdropped
    WHERE r.relkind IN ('r', 'p') AND NOT r.shared),
policy AS (
    SELECT p.polrelid, count(*) AS policies,
           bool_and(p.polname = %(policy)s::text AND p.polpermissive AND p.polcmd = '*' AND p.polroles = ARRAY[0]::oid[]
               AND pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM %(using)s::text
               AND pg_get_expr(p.polwithcheck, p.polrelid) IS NOT DISTINCT FROM %(check)s::text) AS ours,
           string_agg(format('DROP POLICY %%I ON %%s; ', p.polname, o.name), '') AS dropped
    FROM pg_policy p JOIN pooled o ON o.oid = p.polrelid GROUP BY p.polrelid),
cascade AS MATERIALIZED (  -- what referential actions do to the referencing table: 8 deletes, 16 updates `columns`
    SELECT k.conrelid, k.conname, a.event, a.columns
    FROM pg_constraint k, LATERAL (VALUES
        (8, k.confdeltype = 'c', NULL::int2[]),
        (16, k.confdeltype IN ('n', 'd'), coalesce(k.confdelsetcols, k.conkey)),
        (16, k.confupdtype IN ('c', 'n', 'd'), k.conkey)
    ) AS a (event, acts, columns)
    WHERE k.contype = 'f' AND a.acts),
fired AS MATERIALIZED (  -- triggers that they set off; UPDATE OF a generated column follows the columns it is made of
    SELECT g.oid, g.tgname, g.tgtype, g.tgfoid, c.conname, r.name
    FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid JOIN cascade c ON c.conrelid = g.tgrelid
    WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & c.event = c.event
        AND (c.event = 8 OR g.tgattr::text = '' OR EXISTS (
            SELECT FROM unnest(g.tgattr::int2[]) AS named JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = named
            WHERE a.attnum = ANY (c.columns) OR a.attgenerated <> '')))

SELECT 'TENANT_COLUMN', o.name, 'It has no column tenant_id uuid NOT NULL with the pool''s default.',
       format('ALTER TABLE %%s ADD COLUMN %%s; or correct the column that is there.', o.name, %(column)s::text)
FROM pooled o
LEFT JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = o.tenant
LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = o.tenant
WHERE (a.attnotnull AND a.atttypid = 'uuid'::regtype AND a.attidentity = '' AND a.attgenerated = ''
    AND pg_get_expr(d.adbin, o.oid) = %(default)s::text) IS NOT TRUE
UNION ALL
SELECT 'ROW_SECURITY_OFF', name, 'Row security is not enabled and forced: its policy does not hold.',
       format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', name)
FROM pooled WHERE NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'POLICY_DIFFERS', o.name, 'Its policies are not exactly the pool''s one.',
       format('%%sCREATE POLICY %%I ON %%s USING %%s WITH CHECK %%s;',
           p.dropped, %(policy)s::text, o.name, %(using)s::text, %(check)s::text)
FROM pooled o LEFT JOIN policy p ON p.polrelid = o.oid
WHERE (p.policies = 1 AND p.ours) IS NOT TRUE
UNION ALL
SELECT CASE WHEN k.confdeltype IN ('c', 'n', 'd') THEN 'FOREIGN_KEY_CROSSES' ELSE 'FOREIGN_KEY_ASKS' END,
       coalesce(o.name, k.conrelid::regclass::text),
       format('The foreign key %%I does not compare the tenant on both sides: %%s.', k.conname,
           CASE WHEN k.confdeltype IN ('c', 'n', 'd') THEN 'deleting one tenant''s row changes another''s'
                ELSE 'it tells whether another tenant has a key' END),
       format('Write FOREIGN KEY (tenant_id, …) REFERENCES %%s (tenant_id, …).', k.confrelid::regclass)
FROM pg_constraint k
LEFT JOIN pooled o ON o.oid = k.conrelid
LEFT JOIN pooled r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND (o.oid IS NOT NULL OR k.confrelid IN (SELECT oid FROM relation))
    AND (k.conkey[1] = o.tenant AND k.confkey[1] = r.tenant) IS NOT TRUE
UNION ALL
SELECT 'FOREIGN_KEY_EMPTIES', o.name, format('The foreign key %%I would empty tenant_id.', k.conname),
       'Name its columns: ON DELETE SET NULL (…), and leave ON UPDATE SET out.'
FROM pg_constraint k JOIN pooled o ON o.oid = k.conrelid
WHERE k.contype = 'f' AND (k.confupdtype IN ('n', 'd')
    OR k.confdeltype IN ('n', 'd') AND (k.confdelsetcols IS NULL OR o.tenant = ANY (k.confdelsetcols)))
UNION ALL
SELECT CASE WHEN i.indisunique OR i.indisexclusion THEN 'KEY_SPANS_TENANTS' ELSE 'INDEX_SPANS_TENANTS' END, o.name,
       CASE WHEN i.indisunique OR i.indisexclusion
            THEN format('%%I is unique over all tenants: it tells whether another tenant has a value.', x.relname)
            ELSE format('%%I does not begin with tenant_id: a look-up reads every tenant''s part of it.', x.relname) END,
       format('Drop %%I and make it again over (tenant_id, …).', x.relname)
FROM pg_index i
JOIN pooled o ON o.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'x'
WHERE (i.indisunique OR i.indisexclusion OR m.amname = 'btree')
    AND (CASE WHEN i.indisexclusion THEN
            i.indkey[0] = o.tenant AND k.conexclop[1] = 'pg_catalog.=(uuid,uuid)'::regoperator
            OR i.indkey[0] = 0 AND k.conexclop[1] = 'pg_catalog.=(inet,inet)'::regoperator
                AND pg_get_indexdef(i.indexrelid, 1, false) = %(address)s::text
         ELSE i.indkey[0] = o.tenant END) IS NOT TRUE
UNION ALL
SELECT 'TENANT_NOT_INDEXED', o.name, 'No index of it begins with tenant_id: each tenant reads the rows of all.',
       'Give it a primary key, or a B-tree index of any column, in a migration: in a pool each begins with tenant_id.'
FROM pooled o
WHERE o.relkind = 'r' AND o.tenant IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = o.oid AND m.amname = 'btree' AND i.indkey[0] = o.tenant AND i.indpred IS NULL)
UNION ALL
SELECT 'INHERITS', r.name, format('It inherits from %%s, or has partitions of it: row security is not inherited.',
           h.inhparent::regclass),
       'Make it a plain table of its own.'
FROM pg_inherits h JOIN relation r ON r.oid = h.inhrelid AND r.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'PARTITIONED', name, 'It is partitioned: row security is not inherited by its partitions.', 'Make it one table.'
FROM relation WHERE relkind = 'p'
UNION ALL
SELECT 'KIND_NOT_POOLED', name,
       CASE relkind WHEN 'm' THEN 'A materialized view keeps rows of all tenants.' ELSE 'A foreign table has no row security.' END,
       format('DROP %%s %%s;', CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'FOREIGN TABLE' END, name)
FROM relation WHERE relkind IN ('m', 'f')
UNION ALL
SELECT CASE WHEN r.rolsuper OR r.rolbypassrls OR v.relkind = 'm' THEN 'VIEW_SEES_ALL' ELSE 'VIEW_NOT_INVOKER' END,
       format('%%I.%%I', n.nspname, v.relname),
       format('It reads its tables with the rights of %%I instead of those of whoever asks.', r.rolname),
       format('ALTER VIEW %%I.%%I SET (security_invoker = true);', n.nspname, v.relname)
FROM (
    SELECT oid FROM relation WHERE relkind = 'v'
    UNION
    SELECT w.ev_class FROM relation t
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite w ON w.oid = d.objid
    WHERE t.relkind IN ('r', 'p', 'v', 'm', 'f')
) AS eyes
JOIN pg_class v ON v.oid = eyes.oid
JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_roles r ON r.oid = v.relowner
WHERE (v.relkind = 'v' OR v.relkind = 'm' AND n.nspname <> %(schema)s::text)
    AND NOT EXISTS (
        SELECT FROM pg_options_to_table(v.reloptions)
        WHERE option_name = 'security_invoker' AND lower(option_value) IN ('true', 'on', 'yes', '1'))
UNION ALL
SELECT CASE WHEN f.prosecdef THEN 'RUNS_AS_OWNER' ELSE 'LEAKPROOF_FUNCTION' END, f.oid::regprocedure::text,
       CASE WHEN f.prosecdef THEN 'It is SECURITY DEFINER: it runs as the owner of every tenant''s rows.'
            ELSE 'It is LEAKPROOF: it is shown rows before row security has looked at them.' END,
       format('ALTER ROUTINE %%s %%s;', f.oid::regprocedure,
           CASE WHEN f.prosecdef THEN 'SECURITY INVOKER' ELSE 'NOT LEAKPROOF' END)
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname = %(schema)s::text AND (f.prosecdef OR f.proleakproof)
UNION ALL
SELECT 'TRIGGER_AS_OWNER', r.name, format('The trigger %%I runs as %%I.', g.tgname, pg_get_userbyid(f.proowner)),
       format('ALTER FUNCTION %%s SECURITY INVOKER;', f.oid::regprocedure)
FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid JOIN pg_proc f ON f.oid = g.tgfoid
WHERE NOT g.tgisinternal AND f.prosecdef
UNION ALL
SELECT 'TRIGGER_IN_CASCADE', f.name,
       format('The trigger %%I runs before the cascade of %%I changes a row, as the owner and past row security.', f.tgname, f.conname),
       'Make it an AFTER trigger; or leave ON DELETE and ON UPDATE to the application, as Django''s own fields do.'
FROM fired f WHERE f.tgtype & 2 = 2
UNION ALL
SELECT 'PATH_IN_CASCADE', f.name,
       format('The trigger %%I is set off by the cascade of %%I and runs as the owner, on whatever search path the session has.', f.tgname, f.conname),
       format('ALTER FUNCTION %%s SET search_path = %%I, pg_temp;', p.oid::regprocedure, %(schema)s::text)
FROM fired f JOIN pg_proc p ON p.oid = f.tgfoid
WHERE f.tgtype & 2 = 0 AND NOT EXISTS (
    SELECT FROM unnest(p.proconfig) AS set_to WHERE set_to LIKE 'search\_path=%%')
UNION ALL
SELECT DISTINCT 'FUNCTION_IN_CASCADE', e.name,
       format('The cascade of %%I runs the function %%s, which %%s calls, as the owner and past row security.',
           e.conname, p.oid::regprocedure, e.what),
       'Write it without the function; or leave ON DELETE and ON UPDATE to the application, as Django''s own fields do.'
FROM (
    SELECT f.name, f.conname, 'pg_trigger'::regclass AS class, f.oid AS object, f.tgfoid AS besides,
           format('WHEN of the trigger %%I', f.tgname) AS what
    FROM fired f
    UNION ALL
    SELECT r.name, c.conname, x.class, x.object, 0, x.what
    FROM cascade c JOIN relation r ON r.oid = c.conrelid AND c.event = 16,
        LATERAL (
            SELECT 'pg_constraint'::regclass, k.oid, format('the constraint %%I', k.conname) FROM pg_constraint k
            WHERE k.conrelid = r.oid AND k.contype = 'c'
            UNION ALL
            SELECT 'pg_constraint'::regclass, k.oid, format('the domain %%s', a.atttypid::regtype)
            FROM pg_attribute a JOIN pg_constraint k ON k.contypid = a.atttypid
            WHERE a.attrelid = r.oid AND a.attnum = ANY (c.columns)
            UNION ALL
            SELECT 'pg_attrdef'::regclass, d.oid, format('the column %%I', a.attname)
            FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            WHERE d.adrelid = r.oid AND (a.attgenerated <> '' OR a.attnum = ANY (c.columns))
            UNION ALL
            SELECT 'pg_class'::regclass, i.indexrelid, format('the index %%s', i.indexrelid::regclass)
            FROM pg_index i WHERE i.indrelid = r.oid
        ) AS x (class, object, what)
) AS e
JOIN pg_depend d ON d.classid = e.class AND d.objid = e.object AND d.refclassid = 'pg_proc'::regclass
    AND d.refobjid <> e.besides
JOIN pg_proc p ON p.oid = d.refobjid
JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = %(schema)s::text
UNION ALL
SELECT 'RULE', r.name, format('The rule %%I rewrites statements past the policies.', w.rulename),
       format('DROP RULE %%I ON %%s;', w.rulename, r.name)
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT CASE WHEN g.grantee = 0 THEN 'GRANTED_TO_ALL' ELSE 'RIGHT_TOO_WIDE' END, r.name,
       format('%%s may %%s it.', CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END, g.privilege_type),
       format('REVOKE %%s ON %%s FROM %%s;', g.privilege_type, r.name,
           CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
FROM (
    SELECT r.oid, e.grantee, e.privilege_type FROM relation r, aclexplode(r.relacl) AS e
    UNION
    SELECT a.attrelid, e.grantee, e.privilege_type FROM pg_attribute a, aclexplode(a.attacl) AS e
    WHERE a.attacl IS NOT NULL AND a.attrelid IN (SELECT oid FROM relation)
) AS g JOIN relation r ON r.oid = g.oid
WHERE g.grantee <> r.relowner AND (g.grantee = 0
    OR g.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
    OR r.shared AND g.privilege_type <> 'SELECT')
UNION ALL
SELECT 'GRANTED_TO_ALL', f.oid::regprocedure::text, 'PUBLIC may execute it.',
       format('REVOKE EXECUTE ON ROUTINE %%s FROM PUBLIC;', f.oid::regprocedure)
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace,
    aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS g
WHERE n.nspname = %(schema)s::text AND g.grantee = 0 AND NOT EXISTS (  -- but the constructors of a range type
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'i')
UNION ALL
SELECT 'GRANTED_TO_ALL', quote_ident(n.nspname), format('PUBLIC has %%s on the schema.', g.privilege_type),
       format('REVOKE %%s ON SCHEMA %%I FROM PUBLIC;', g.privilege_type, n.nspname)
FROM pg_namespace n, aclexplode(n.nspacl) AS g WHERE n.nspname = %(schema)s::text AND g.grantee = 0
UNION ALL
SELECT 'PUBLISHED', o.name, format('The publication %%I sends every tenant''s rows.', p.pubname),
       format('ALTER PUBLICATION %%I DROP TABLE %%s; or give it a row filter.', p.pubname, o.name)
FROM pooled o
JOIN pg_publication p ON p.puballtables
    OR EXISTS (SELECT FROM pg_publication_rel l WHERE l.prpubid = p.oid AND l.prrelid = o.oid AND l.prqual IS NULL)
    OR EXISTS (SELECT FROM pg_publication_namespace l JOIN pg_namespace n ON n.oid = l.pnnspid
               WHERE l.pnpubid = p.oid AND n.nspname = %(schema)s::text)
ORDER BY 1, 2, 3
