-- What of the tables the entries of audit_entry do not hold: versions of events none of whose sightings is there, reorg notices, verdicts of
-- the chain. How many, and an example. $1: what stands and came from the chain is no loss, nor are verdicts: the next reconcile brings them
-- again. It has to know the contract: by its setting ($2), or by an event that will be there again. How many rows of those.
WITH can AS MATERIALIZED (
        SELECT $1::boolean AND ($2::boolean OR EXISTS (
                SELECT FROM event_sighting s JOIN audit_entry e ON (e.stream, e.stream_ms, e.stream_seq) = (s.stream, s.stream_ms, s.stream_seq)
                WHERE s.source_table <> 'generic_events')) AS reconcile
), version AS (
        SELECT s.source_table, s.transaction_hash, s.log_index, s.block_hash, min(s.stream) AS stream, bool_or(s.stream = 'chain') AS from_chain
        FROM event_sighting s
        LEFT JOIN audit_entry e ON (e.stream, e.stream_ms, e.stream_seq) = (s.stream, s.stream_ms, s.stream_seq)
        GROUP BY s.source_table, s.transaction_hash, s.log_index, s.block_hash
        HAVING count(e.stream) = 0
), again AS (
        SELECT v.* FROM version v
        WHERE v.from_chain AND (SELECT reconcile FROM can) AND EXISTS (SELECT FROM event_standing t
                WHERE (t.source_table, t.transaction_hash, t.log_index, t.block_hash) = (v.source_table, v.transaction_hash, v.log_index, v.block_hash))
), lost AS (
        SELECT 'transaction ' || v.transaction_hash || ' log index ' || v.log_index || ' (' || v.source_table || ', stream ' || v.stream || ')' AS what
        FROM version v
        WHERE (v.source_table, v.transaction_hash, v.log_index, v.block_hash) NOT IN (
                SELECT a.source_table, a.transaction_hash, a.log_index, a.block_hash FROM again a)
        UNION ALL
        SELECT 'reorg notice ' || r.stream_ms || '-' || r.stream_seq || ' (stream ' || r.stream || ')'
        FROM reorgs r
        LEFT JOIN audit_entry e ON (e.stream, e.stream_ms, e.stream_seq) = (r.stream, r.stream_ms, r.stream_seq)
        WHERE e.stream IS NULL
        UNION ALL -- events that the streams hold and the chain has ruled out would stand again
        SELECT 'the chain''s verdict on block ' || c.block_number || ' (' || c.block_hash || ')' FROM chain_block c WHERE NOT c.live AND NOT (SELECT reconcile FROM can)
        UNION ALL
        SELECT 'the chain''s verdict on transaction ' || a.transaction_hash || ' log index ' || a.log_index FROM chain_absent a WHERE NOT (SELECT reconcile FROM can)
)
SELECT count(*), min(what), (SELECT count(*) FROM again) FROM lost
