-- What of the tables the entries of audit_entry do not hold: versions of events none of whose sightings is there, and reorg notices. How
-- many, and an example.
WITH lost AS (
        SELECT 'transaction ' || s.transaction_hash || ' log index ' || s.log_index || ' (' || s.source_table || ', stream ' || min(s.stream) || ')' AS what
        FROM event_sighting s
        LEFT JOIN audit_entry e ON (e.stream, e.stream_ms, e.stream_seq) = (s.stream, s.stream_ms, s.stream_seq)
        GROUP BY s.source_table, s.transaction_hash, s.log_index, s.block_hash
        HAVING count(e.stream) = 0
        UNION ALL
        SELECT 'reorg notice ' || r.stream_ms || '-' || r.stream_seq || ' (stream ' || r.stream || ')'
        FROM reorgs r
        LEFT JOIN audit_entry e ON (e.stream, e.stream_ms, e.stream_seq) = (r.stream, r.stream_ms, r.stream_seq)
        WHERE e.stream IS NULL
)
SELECT count(*), min(what) FROM lost
