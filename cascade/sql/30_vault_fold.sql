-- $1 term ids, locked. Takes their outbox rows and adds what these say to the vaults' numbers of holders: both or neither. Vaults that a
-- reorg left without events are locked with the others, in order: 30_vault_bury is next. Returns the terms that had such rows, in byte
-- order; of the others somebody took them who held the lock before, and has made the term anew.
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
        SELECT term_id, curve_id, sum(delta)::bigint AS delta
        FROM (
                SELECT term_id, curve_id, position_delta AS delta, false AS is_empty FROM gone WHERE curve_id IS NOT NULL
                UNION ALL
                SELECT term_id, curve_id, 0, true FROM vault WHERE term_id = ANY ($1::text[]) AND first_event_block IS NULL
        ) k
        GROUP BY term_id, curve_id HAVING sum(delta) <> 0 OR bool_or(is_empty)
), locked AS (
        SELECT v.term_id, v.curve_id, m.delta
        FROM moved m JOIN vault v ON (v.term_id, v.curve_id) = (m.term_id, m.curve_id)
        ORDER BY v.term_id, v.curve_id FOR UPDATE OF v
), counted AS (
        UPDATE vault v SET position_count = v.position_count + l.delta
        FROM locked l WHERE (v.term_id, v.curve_id) = (l.term_id, l.curve_id)
)
SELECT DISTINCT term_id FROM gone ORDER BY term_id
