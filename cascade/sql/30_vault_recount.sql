-- $1 term ids whose buckets are locked. Counts the holders anew, less what outbox rows of the very snapshot it counts in will still add.
WITH waiting AS MATERIALIZED (
        SELECT k.term_id, k.curve_id, sum(k.position_delta)::bigint AS delta
        FROM vault_outbox o CROSS JOIN LATERAL unnest(o.term_ids, o.curve_ids, o.position_deltas) k (term_id, curve_id, position_delta)
        WHERE o.bucket = ANY (ARRAY(SELECT DISTINCT vault_bucket(term_id) FROM unnest($1::text[]) u (term_id)))
                AND (k.term_id IN (SELECT unnest($1::text[]))) IS TRUE
        GROUP BY k.term_id, k.curve_id HAVING sum(k.position_delta) <> 0
), counted AS MATERIALIZED (
        SELECT v.term_id, v.curve_id, count(p.account_id) AS holders
        FROM vault v
        LEFT JOIN position p ON (p.term_id, p.curve_id) = (v.term_id, v.curve_id) AND p.shares > 0
        WHERE v.term_id = ANY ($1::text[])
        GROUP BY v.term_id, v.curve_id
), locked AS (
        SELECT v.term_id, v.curve_id, c.holders - coalesce(w.delta, 0) AS holders
        FROM vault v
        JOIN counted c ON (v.term_id, v.curve_id) = (c.term_id, c.curve_id)
        LEFT JOIN waiting w ON (v.term_id, v.curve_id) = (w.term_id, w.curve_id)
        ORDER BY v.term_id, v.curve_id FOR UPDATE OF v
)
UPDATE vault v SET position_count = l.holders, market_cap = vault_market_cap(v.total_shares, v.current_share_price)
FROM locked l WHERE (v.term_id, v.curve_id) = (l.term_id, l.curve_id)
