-- $1 a program, $2 the streams that it reads and writes: each stream that the programs before it read, as far as they have said so (NULL: none),
-- and how many replicas of the program run
SELECT s.stream, r.replicas
FROM (SELECT greatest(count(*), 1) AS replicas FROM pipeline_replica WHERE program = $1 AND seen_at > now() - interval '30 seconds') r
LEFT JOIN pipeline_stream s ON s.seen_at > now() - interval '3 minutes' AND s.stream <> ALL ($2::text[])
ORDER BY s.stream
