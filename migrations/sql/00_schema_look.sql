-- What stands in this database: is there a schema_migrations, is it ours, is there any table of our names, and why triggers of ours do not
-- fire (NULL: they do).
SELECT to_regclass('schema_migrations') IS NOT NULL,
        (SELECT count(*) = 5 FROM pg_attribute
                WHERE attrelid = to_regclass('schema_migrations') AND attname IN ('version', 'name', 'checksum', 'additive', 'applied_at')),
        (SELECT string_agg(name, ', ') FROM unnest(ARRAY['atom', 'triple', 'position', 'vault', 'term', 'triple_vault', 'triple_term', 'predicate_object',
                'subject_predicate', 'atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events',
                'share_price_changed_events', 'generic_events', 'reorgs', 'orphaned_events']) name WHERE to_regclass(name) IS NOT NULL),
        CASE WHEN current_setting('session_replication_role') = 'replica'
                THEN 'session_replication_role is replica; ALTER ROLE or ALTER DATABASE ... RESET session_replication_role'
                ELSE (SELECT 'they are disabled; ' || string_agg(format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::regclass, t.tgname), '; ')
                        || '; then rebuild of the three programs mends what came meanwhile'
                        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                        WHERE t.tgenabled NOT IN ('O', 'A') AND t.tgrelid IN (SELECT to_regclass(name) FROM unnest(ARRAY['atom', 'triple', 'atom_created_events',
                                        'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events']) name)
                                -- of 0020 and 0030
                                AND p.proname IN ('atom_created_events_changed', 'triple_created_events_changed', 'deposited_events_changed',
                                        'redeemed_events_changed', 'share_price_changed_events_changed', 'event_be_alone', 'atom_keep_enrichment',
                                        'atom_restore_enrichment', 'triple_gone')) END
