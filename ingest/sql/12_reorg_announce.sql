-- $1 stream, $2 fork block. While a notice is handled its session is named so: pg_stat_activity shows it, and the status view. The events counted
-- are those that it may move. Under the exclusive lock, in the notice's transaction.
SELECT set_config('application_name', format('reorg from block %s, %s events', $2::bigint, count(*)), true)
FROM event_standing WHERE stream = $1 AND block_number >= $2::bigint
