-- Rights that are missing, beyond reading: who needs them (0: verify, too; 1: all that writes; 2: `replay --reset` alone); and what to do.
SELECT 0, format('temporary tables are needed by reorg notices, verify, rebuild and replay: GRANT TEMPORARY ON DATABASE %I TO %I', current_database(),
        current_user)
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT 1, format('GRANT %s ON %s TO %I', rights, string_agg(t, ', ' ORDER BY t), current_user)
FROM (SELECT CASE WHEN t LIKE '%_outbox' THEN 'INSERT' ELSE 'INSERT, UPDATE, DELETE' END AS rights, t
        FROM unnest(ARRAY['atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events',
                'generic_events', 'orphaned_events', 'reorgs', 'repeated_sightings', 'chain_block', 'chain_absent', 'chain_position', 'chain_state',
                'atom_enrichment', 'pinned_network', 'unfinished_replay', 'atom', 'triple', 'position', 'vault', 'vault_outbox', 'term_outbox',
                'pipeline_replica', 'pipeline_stream', 'verify_result']) t) needed
JOIN pg_class c ON c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = t
WHERE EXISTS (SELECT FROM regexp_split_to_table(rights, ', ') r WHERE NOT has_table_privilege(c.oid, r))
GROUP BY rights
UNION ALL
SELECT 2, format('replay --reset needs TRUNCATE on %s: GRANT TRUNCATE ON ALL TABLES IN SCHEMA %I TO %I', string_agg(c.relname, ', ' ORDER BY c.relname),
        current_schema(), current_user)
FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, 'TRUNCATE')
        AND c.relname IN ('atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events',
                'generic_events', 'orphaned_events', 'reorgs', 'repeated_sightings', 'chain_block', 'chain_absent', 'chain_position', 'atom', 'triple',
                'position', 'vault', 'vault_outbox', 'term', 'term_outbox', 'triple_vault', 'triple_term', 'predicate_object', 'subject_predicate')
HAVING count(*) > 0
