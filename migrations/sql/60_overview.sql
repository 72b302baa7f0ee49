-- $1 program. The pipeline at a glance, as JSON; the program's own last verify (NULL where there was none): differences, seconds ago; a stream of the pipeline
-- in each row. The glance is a subquery, which is run once: it reads both outboxes, a call would do so for each row.
SELECT (SELECT pipeline_overview()::text), v.differences, extract(epoch FROM now() - v.finished_at)::bigint, s.stream
FROM (VALUES ($1::text)) p (program)
LEFT JOIN verify_result v ON v.program = p.program
LEFT JOIN pipeline_stream s ON s.seen_at > now() - interval '1 day'
ORDER BY s.stream
