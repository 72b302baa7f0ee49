-- What stands in this database: is there a schema_migrations, is it ours, which tables of our names are there, why nothing can be used, and why nothing
-- that is done would be right (NULL: no reason).
SELECT to_regclass('schema_migrations') IS NOT NULL,
        (SELECT count(*) = 5 FROM pg_attribute
                WHERE attrelid = to_regclass('schema_migrations') AND attname IN ('version', 'name', 'checksum', 'additive', 'applied_at')),
        tables,
        CASE WHEN current_schema() IS NULL
                THEN format('of search_path (%s) no schema is there that role %s may use: GRANT USAGE ON SCHEMA, or set search_path',
                        current_setting('search_path'), current_user) END,
        CASE WHEN hidden IS NOT NULL
                THEN format('row level security hides rows of %s from role %s: ALTER TABLE ... DISABLE ROW LEVEL SECURITY, or ALTER ROLE ... BYPASSRLS',
                        hidden, current_user)
                WHEN current_setting('session_replication_role') = 'replica'
                THEN silent || 'session_replication_role is replica; ALTER ROLE or ALTER DATABASE ... RESET session_replication_role'
                ELSE (SELECT silent || 'they are disabled; ' || string_agg(format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::regclass, t.tgname), '; ')
                        || '; then rebuild of the three programs mends what came meanwhile'
                        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                        WHERE t.tgenabled NOT IN ('O', 'A') AND t.tgrelid IN (SELECT to_regclass(name) FROM unnest(ARRAY['atom', 'triple', 'atom_created_events',
                                        'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events']) name)
                                -- of 0020 and 0030
                                AND p.proname IN ('atom_created_events_changed', 'triple_created_events_changed', 'deposited_events_changed',
                                        'redeemed_events_changed', 'share_price_changed_events_changed', 'event_be_alone', 'atom_keep_enrichment',
                                        'atom_restore_enrichment', 'triple_gone')) END
FROM (SELECT string_agg(name, ', ') AS tables, string_agg(name, ', ') FILTER (WHERE relrowsecurity AND row_security_active(c.oid)) AS hidden,
                'triggers of ours do not fire, so all that follows from the events would be missing: ' AS silent
        FROM unnest(ARRAY['atom', 'triple', 'position', 'vault', 'term', 'triple_vault', 'triple_term', 'predicate_object', 'subject_predicate',
                'atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events', 'generic_events',
                'reorgs', 'orphaned_events', 'vault_outbox', 'term_outbox']) name
        JOIN pg_class c ON c.oid = to_regclass(name)) ours
