-- $1 term ids, locked. Counts the holders anew and takes the outbox rows of the very snapshot it counts in: what comes later is added later.
-- Returns all of the terms.
WITH gone AS (
        DELETE FROM vault_outbox WHERE term_id = ANY ($1::text[]) RETURNING term_id, curve_id
), told AS ( -- a triple that came and went again before its term was made: nothing but this row says so
        INSERT INTO term_outbox (term_id, block_number)
        SELECT DISTINCT term_id, 0 FROM gone
        WHERE curve_id IS NULL
                AND NOT EXISTS (SELECT FROM atom a WHERE a.term_id = gone.term_id)
                AND NOT EXISTS (SELECT FROM triple t WHERE t.term_id = gone.term_id)
                AND NOT EXISTS (SELECT FROM triple t WHERE t.counter_term_id = gone.term_id)
), counted AS MATERIALIZED (
        SELECT v.term_id, v.curve_id, count(p.account_id) AS holders
        FROM vault v
        LEFT JOIN position p ON (p.term_id, p.curve_id) = (v.term_id, v.curve_id) AND p.shares > 0
        WHERE v.term_id = ANY ($1::text[])
        GROUP BY v.term_id, v.curve_id
), locked AS (
        SELECT v.term_id, v.curve_id, c.holders
        FROM vault v JOIN counted c ON (v.term_id, v.curve_id) = (c.term_id, c.curve_id)
        ORDER BY v.term_id, v.curve_id FOR UPDATE OF v
), made AS (
        UPDATE vault v SET position_count = l.holders, market_cap = vault_market_cap(v.total_shares, v.current_share_price)
        FROM locked l WHERE (v.term_id, v.curve_id) = (l.term_id, l.curve_id)
)
SELECT unnest($1::text[])
