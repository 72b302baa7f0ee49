-- What stands in this database: is there a schema_migrations, is it ours, is there any table of our names, and do triggers fire in this session.
SELECT to_regclass('schema_migrations') IS NOT NULL,
        (SELECT count(*) = 5 FROM pg_attribute
                WHERE attrelid = to_regclass('schema_migrations') AND attname IN ('version', 'name', 'checksum', 'additive', 'applied_at')),
        (SELECT string_agg(name, ', ') FROM unnest(ARRAY['atom', 'triple', 'position', 'vault', 'term', 'triple_vault', 'triple_term', 'predicate_object',
                'subject_predicate', 'atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events',
                'share_price_changed_events', 'generic_events', 'reorgs', 'orphaned_events']) name WHERE to_regclass(name) IS NOT NULL),
        current_setting('session_replication_role') <> 'replica'
