-- The same, waiting for whoever is at it.
SELECT pg_advisory_xact_lock(hashtext('reconcile'), 0)
