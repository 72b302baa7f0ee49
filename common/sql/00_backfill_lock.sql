-- One replica of a pipeline backfills at a time: no row where another holds the lock. $1 names the stage.
SELECT 1 WHERE pg_try_advisory_xact_lock(hashtext('backfill'), hashtext(current_schema() || ' ' || $1))
