-- Rights that are missing, beyond those on rows: whether the service and all commands need it (true), or `replay --reset` alone; and what to do.
SELECT true, format('temporary tables are needed by reorg notices, verify, rebuild and replay: GRANT TEMPORARY ON DATABASE %I TO %I', current_database(),
        current_user)
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT false, format('replay --reset needs TRUNCATE on %s: GRANT TRUNCATE ON ALL TABLES IN SCHEMA %I TO %I', string_agg(c.relname, ', ' ORDER BY c.relname),
        current_schema(), current_user)
FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, 'TRUNCATE')
        AND c.relname IN ('atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events',
                'generic_events', 'orphaned_events', 'reorgs', 'repeated_sightings', 'chain_block', 'chain_absent', 'chain_position', 'atom', 'triple',
                'position', 'vault', 'vault_outbox', 'term', 'term_outbox', 'triple_vault', 'triple_term', 'predicate_object', 'subject_predicate')
HAVING count(*) > 0
