-- $1, $2 triples (term, counter term), locked in an earlier statement.
WITH key AS MATERIALIZED (
        SELECT DISTINCT a COLLATE "C" AS term_id, b COLLATE "C" AS counter_term_id FROM unnest($1::text[], $2::text[]) k (a, b)
), expected AS MATERIALIZED (
        SELECT e.* FROM key k CROSS JOIN LATERAL (
                SELECT * FROM triple_vault_expected x
                WHERE x.term_id = k.term_id AND x.counter_term_id = k.counter_term_id OFFSET 0) e
), surplus AS MATERIALIZED (
        SELECT v.term_id, v.counter_term_id, v.curve_id FROM key k CROSS JOIN LATERAL (
                SELECT * FROM triple_vault x
                WHERE x.term_id = k.term_id AND x.counter_term_id = k.counter_term_id OFFSET 0) v
        EXCEPT
        SELECT term_id, counter_term_id, curve_id FROM expected
), gone AS (
        DELETE FROM triple_vault v USING surplus s
        WHERE (v.term_id, v.counter_term_id, v.curve_id) = (s.term_id, s.counter_term_id, s.curve_id)
)
INSERT INTO triple_vault AS v (term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap)
SELECT term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap FROM expected
ON CONFLICT (term_id, counter_term_id, curve_id) DO UPDATE SET
        total_shares = excluded.total_shares, total_assets = excluded.total_assets,
        position_count = excluded.position_count, market_cap = excluded.market_cap
WHERE (v.total_shares, v.total_assets, v.position_count, v.market_cap)
        IS DISTINCT FROM (excluded.total_shares, excluded.total_assets, excluded.position_count, excluded.market_cap)
