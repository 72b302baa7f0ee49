-- $1 program, $2 the streams it reads, $3 the replica's consumer name, $4 its version. Who runs, and what is read by whom.
WITH noted AS (
        INSERT INTO pipeline_stream AS p (stream, program, seen_at)
        SELECT DISTINCT s COLLATE "C", $1::text, now() FROM unnest($2::text[]) s ORDER BY 1 -- replicas lock the same rows
        ON CONFLICT (stream) DO UPDATE SET program = excluded.program, seen_at = excluded.seen_at
        WHERE p.program <> excluded.program OR p.seen_at < now() - interval '1 minute'
), here AS (
        INSERT INTO pipeline_replica AS r (program, name, version, seen_at) VALUES ($1, $3, $4, now())
        ON CONFLICT (program, name) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at
        WHERE r.seen_at < now() - interval '10 seconds'
)
DELETE FROM pipeline_replica r WHERE r.seen_at < now() - interval '1 day'
