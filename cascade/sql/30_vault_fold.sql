-- $1 term ids, locked. Takes their outbox rows and adds what these say to the vaults' numbers of holders: both or neither. Vaults that a
-- reorg left without events are locked with the others, in order: 30_vault_bury is next.
WITH gone AS (
        DELETE FROM vault_outbox WHERE term_id = ANY ($1::text[]) RETURNING term_id, curve_id, position_delta
), told AS ( -- a triple that came and went again before its term was made: nothing but this row says so
        INSERT INTO term_outbox (term_id, block_number)
        SELECT DISTINCT term_id, 0 FROM gone
        WHERE curve_id IS NULL
                AND NOT EXISTS (SELECT FROM atom a WHERE a.term_id = gone.term_id)
                AND NOT EXISTS (SELECT FROM triple t WHERE t.term_id = gone.term_id)
                AND NOT EXISTS (SELECT FROM triple t WHERE t.counter_term_id = gone.term_id)
), moved AS (
        SELECT term_id, curve_id, sum(position_delta)::bigint AS delta
        FROM gone WHERE curve_id IS NOT NULL
        GROUP BY term_id, curve_id HAVING sum(position_delta) <> 0
), locked AS (
        SELECT v.term_id, v.curve_id, coalesce(m.delta, 0) AS delta
        FROM vault v LEFT JOIN moved m ON (v.term_id, v.curve_id) = (m.term_id, m.curve_id)
        WHERE v.term_id = ANY ($1::text[]) AND (m.delta IS NOT NULL OR v.last_event_block IS NULL)
        ORDER BY v.term_id, v.curve_id FOR UPDATE OF v
)
UPDATE vault v SET position_count = v.position_count + l.delta
FROM locked l WHERE (v.term_id, v.curve_id) = (l.term_id, l.curve_id)
