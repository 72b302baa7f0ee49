-- The terms whose row, or whose vaults' number of holders or market cap, differ from their definition. A number of holders is judged with
-- what the outbox will still add to it. Terms that are only under way may be among them: to make those anew is right, too.
SELECT term_id
FROM (SELECT term_id, curve_id, position_count, market_cap FROM vault_count_expected) expected
FULL JOIN (
        SELECT v.term_id, v.curve_id, v.position_count + coalesce(o.delta, 0) AS position_count, v.market_cap
        FROM vault v
        LEFT JOIN (SELECT term_id, curve_id, sum(position_delta)::bigint AS delta FROM vault_waiting GROUP BY term_id, curve_id) o
                ON (o.term_id, o.curve_id) = (v.term_id, v.curve_id)
) actual USING (term_id, curve_id)
WHERE expected IS DISTINCT FROM actual
UNION
SELECT id
FROM (SELECT id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at FROM term_expected) expected
FULL JOIN (SELECT id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at FROM term) actual USING (id)
WHERE expected IS DISTINCT FROM actual
ORDER BY 1
