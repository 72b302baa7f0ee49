-- $1 term ids whose buckets are locked. Counts the holders anew, less what outbox rows of the very snapshot it counts in will still add.
WITH waiting AS MATERIALIZED (
        SELECT k.term_id, k.curve_id, sum(k.position_delta)::bigint AS delta
        FROM vault_outbox o CROSS JOIN LATERAL unnest(o.term_ids, o.curve_ids, o.position_deltas) k (term_id, curve_id, position_delta)
        WHERE o.bucket = ANY (ARRAY(SELECT DISTINCT vault_bucket(term_id) FROM unnest($1::text[]) u (term_id)))
                AND (k.term_id IN (SELECT unnest($1::text[]))) IS TRUE
        GROUP BY k.term_id, k.curve_id HAVING sum(k.position_delta) <> 0
), counted AS (
        SELECT v.term_id, v.curve_id, v.holders AS change
        FROM (SELECT DISTINCT term_id COLLATE "C" FROM unnest($1::text[]) u (term_id)) k (term_id)
        CROSS JOIN LATERAL (
                SELECT x.term_id, x.curve_id,
                        (SELECT count(*) FROM position p WHERE p.term_id = x.term_id AND p.curve_id = x.curve_id AND p.shares > 0) AS holders
                FROM vault x WHERE x.term_id = k.term_id OFFSET 0) v
        UNION ALL
        SELECT term_id, curve_id, -delta FROM waiting
)
INSERT INTO vault AS v (term_id, curve_id, position_count, vault_type, created_at, updated_at)
SELECT term_id, curve_id, sum(change)::bigint, '0', now(), now()
FROM counted
GROUP BY term_id, curve_id
ORDER BY term_id, curve_id
ON CONFLICT (term_id, curve_id) DO UPDATE SET
        position_count = excluded.position_count, market_cap = vault_market_cap(v.total_shares, v.current_share_price)
