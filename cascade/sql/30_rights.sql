-- Rights on rows that are missing, beyond reading, and what to do. true: the service needs them.
SELECT true, format('GRANT INSERT, UPDATE, DELETE ON %s TO %I', string_agg(c.relname, ', ' ORDER BY c.relname), current_user)
FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
        AND c.relname IN ('vault', 'vault_outbox', 'term', 'term_outbox', 'pipeline_replica', 'pipeline_stream', 'verify_result')
        AND NOT (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
HAVING count(*) > 0
