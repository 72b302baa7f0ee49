-- $1 the replica's row of pipeline_replica as JSON, $2 the streams it reads. Who runs and how it goes, and what is read by whom.
WITH noted AS (
        INSERT INTO pipeline_stream AS p (stream, program, seen_at)
        SELECT DISTINCT s COLLATE "C", $1::jsonb->>'program', now() FROM unnest($2::text[]) s ORDER BY 1 -- replicas lock the same rows
        ON CONFLICT (stream) DO UPDATE SET program = excluded.program, seen_at = excluded.seen_at
        WHERE p.program <> excluded.program OR p.seen_at < now() - interval '1 minute'
), here AS (
        INSERT INTO pipeline_replica AS r
        SELECT n.* FROM jsonb_populate_record(NULL::pipeline_replica, $1::jsonb || jsonb_build_object('seen_at', now(), 'events_per_second', 0)) n
        ON CONFLICT (program, name) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at, breaker = excluded.breaker, ready = excluded.ready,
                processed = excluded.processed, failed = excluded.failed, retries = excluded.retries, backfilled = excluded.backfilled,
                events_per_second = greatest(excluded.processed - r.processed, 0) / greatest(extract(epoch FROM now() - r.seen_at), 0.1),
                delay_p50 = excluded.delay_p50, delay_p99 = excluded.delay_p99
)
DELETE FROM pipeline_replica r WHERE r.seen_at < now() - interval '1 day'
