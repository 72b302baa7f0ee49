-- $1 a program. The streams that ingest reads, as far as it has said so (NULL: none), and in each row how many replicas of the program run.
SELECT s.stream, r.replicas
FROM (SELECT greatest(count(*), 1) AS replicas FROM pipeline_replica WHERE program = $1 AND seen_at > now() - interval '30 seconds') r
LEFT JOIN pipeline_stream s ON s.program = 'ingest' AND s.seen_at > now() - interval '3 minutes'
ORDER BY s.stream
