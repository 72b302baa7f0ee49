-- Rows of triple_vault that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH waiting AS MATERIALIZED (
        SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox
), flying AS MATERIALIZED (
        SELECT term_id, counter_term_id FROM triple WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
        UNION
        SELECT term_id, counter_term_id FROM triple_term WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
)
SELECT 'triple_vault', 'term_id=' || term_id || ' ' || 'counter_term_id=' || counter_term_id || ' ' || 'curve_id=' || curve_id, row_difference(to_jsonb(expected), to_jsonb(actual)), term_id, counter_term_id, curve_id
FROM (
        SELECT
                term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap
        FROM triple_vault_expected WHERE hashtext(term_id || counter_term_id || curve_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap
        FROM triple_vault t WHERE hashtext(term_id || counter_term_id || curve_id) % $1::int = 0
) actual USING (term_id, counter_term_id, curve_id)
WHERE expected IS DISTINCT FROM actual
        AND (term_id, counter_term_id) NOT IN (SELECT * FROM flying)
