-- Rights that are missing, beyond reading: who needs them (1: all that writes); and what to do.
SELECT 1, format('GRANT INSERT, UPDATE, DELETE ON %s TO %I', string_agg(c.relname, ', ' ORDER BY c.relname), current_user)
FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
        AND c.relname IN ('term_outbox', 'triple_vault', 'triple_term', 'predicate_object', 'subject_predicate', 'pipeline_replica', 'pipeline_stream', 'verify_result')
        AND NOT (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
HAVING count(*) > 0
