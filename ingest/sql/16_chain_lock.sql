-- One process of a pipeline reconciles at a time, to the end of its transaction. Without a row somebody else does.
SELECT WHERE pg_try_advisory_xact_lock(hashtext('reconcile'), 'chain_state'::regclass::oid::int)
