-- For `check`: encoding, whether we may create tables here, clock, database, version; the tables of this schema that we may not read; and
-- those of which no row can be updated or deleted once a publication has them.
SELECT current_setting('server_encoding'), has_schema_privilege(current_schema(), 'CREATE'), extract(epoch FROM now())::bigint,
        current_database(), current_setting('server_version'),
        (SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'
                AND NOT has_table_privilege(c.oid, 'SELECT')),
        (SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r' AND (c.relreplident = 'n' OR c.relreplident = 'd'
                AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)))
