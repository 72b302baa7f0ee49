-- For `check`, a line each: 0 ok, 1 warn, 2 fail; what was looked at; what it says. And the server's clock. ASCII only: the database may have any encoding.
SELECT CASE WHEN good THEN 0 ELSE otherwise END, subject, CASE WHEN good THEN yes ELSE no END, extract(epoch FROM now())::bigint
FROM (SELECT string_agg(relname, ', ' ORDER BY relname) FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT')) AS closed,
                string_agg(relname, ', ' ORDER BY relname) FILTER (WHERE relreplident = 'n' OR relreplident = 'd'
                        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)) AS keyless
        FROM pg_class c WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_migrations')) AND relkind = 'r') tables,
        (SELECT min(p.proname) || CASE WHEN count(*) > 1 THEN format(' and %s more', count(*) - 1) ELSE '' END AS barred
        FROM pg_class c JOIN pg_proc p ON p.pronamespace = c.relnamespace AND p.proowner = c.relowner
        WHERE c.oid = to_regclass('schema_migrations') AND NOT has_function_privilege(p.oid, 'EXECUTE')) functions,
        current_setting('server_version') version, current_setting('server_encoding') encoding,
        LATERAL (VALUES (true, 0, 'postgresql', 'reachable, database ' || current_database(), NULL),
                (current_setting('server_version_num')::int >= 140000, 2, 'postgresql version', version, version || ': 14 or later is needed'),
                (encoding = 'UTF8', 2, 'database encoding', encoding, encoding || ': make the database with ENCODING ''UTF8'''),
                (has_schema_privilege(current_schema(), 'CREATE'), 1, 'privileges', 'may create tables',
                        'may not create tables: migrate with another user, RUN_MIGRATIONS=false'),
                (closed IS NULL, 2, 'table privileges', 'all tables can be read', 'the right to read is missing on ' || closed),
                (barred IS NULL, 2, 'function privileges', 'all functions can be called', 'the right to call is missing on ' || barred
                        || format(': GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', coalesce(current_schema(), ''), current_user)),
                (keyless IS NULL, 1, 'replica identity', 'all tables have one', 'missing on ' || keyless
                        || ': a publication FOR ALL TABLES makes updates and deletes fail there; ALTER TABLE ... REPLICA IDENTITY FULL')
        ) line (good, otherwise, subject, yes, no)
