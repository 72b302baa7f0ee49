-- A look begins: $1 Redis TIME; $2 to $4 the input streams and their last ids; $5 and $6 the blocks it is about. A row has the last moment, the
-- moment of this look, and a stream's position at it. Streams whose position is that of the moment are left out; without any the row has none.
-- What is stored already stands before the look, even where Redis has lost the stream since.
WITH look AS MATERIALIZED (
        SELECT moment AS last, greatest($1::bigint, moment + 1) AS moment FROM chain_state
), known AS MATERIALIZED (
        SELECT s.stream, greatest(s.ms, $1) AS ms, CASE WHEN s.ms >= $1 THEN s.seq ELSE -1 END AS seq
        FROM unnest($2::text[], $3::bigint[], $4::bigint[]) s (stream, ms, seq)
        UNION ALL
        SELECT n.stream, n.stream_ms, n.stream_seq FROM reorgs n WHERE n.counts AND n.stream_ms >= $1
        UNION ALL
        SELECT e.stream, e.stream_ms, e.stream_seq FROM event_sighting e
        WHERE e.block_number BETWEEN $5::bigint AND $6::bigint AND e.stream_ms >= $1 AND e.stream <> 'chain'
)
SELECT l.last, l.moment, p.stream, p.ms, p.seq
FROM look l LEFT JOIN (SELECT DISTINCT ON (k.stream) k.* FROM known k ORDER BY k.stream, k.ms DESC, k.seq DESC) p ON (p.ms, p.seq) <> (l.moment, -1)
