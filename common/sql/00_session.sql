-- For commands, whose work may be long, and may pause between two statements: limits that a role or a database sets are meant for others. A setting that
-- this server does not have is left out. Names are quoted where they need it: the definitions that verify puts together compare them.
SELECT set_config(name, '0', false)
FROM unnest(ARRAY['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout',
        'quote_all_identifiers']) name
WHERE current_setting(name, true) IS NOT NULL
