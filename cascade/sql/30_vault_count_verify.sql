-- Rows of vault that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH flying AS MATERIALIZED (SELECT DISTINCT term_id FROM vault_waiting)
SELECT 'vault', 'term_id=' || term_id || ' ' || 'curve_id=' || curve_id, row_difference(to_jsonb(expected), to_jsonb(actual)), term_id, curve_id
FROM (
        SELECT
                term_id, curve_id, position_count, market_cap
        FROM vault_count_expected WHERE hashtext(term_id || curve_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                term_id, curve_id, position_count, market_cap
        FROM vault t WHERE hashtext(term_id || curve_id) % $1::int = 0
) actual USING (term_id, curve_id)
WHERE expected IS DISTINCT FROM actual
        AND term_id NOT IN (SELECT term_id FROM flying)
