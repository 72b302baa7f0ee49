-- Rows of triple_term that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH waiting AS MATERIALIZED (
        SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox
), flying AS MATERIALIZED (
        SELECT term_id, counter_term_id FROM triple WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
        UNION
        SELECT term_id, counter_term_id FROM triple_term WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
)
SELECT 'triple_term', 'term_id=' || term_id || ' ' || 'counter_term_id=' || counter_term_id, row_difference(to_jsonb(expected), to_jsonb(actual)), term_id, counter_term_id
FROM (
        SELECT
                term_id, counter_term_id, total_assets, total_market_cap, total_position_count
        FROM triple_term_expected WHERE hashtext(term_id || counter_term_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                term_id, counter_term_id, total_assets, total_market_cap, total_position_count
        FROM triple_term t WHERE hashtext(term_id || counter_term_id) % $1::int = 0
) actual USING (term_id, counter_term_id)
WHERE expected IS DISTINCT FROM actual
        AND (term_id, counter_term_id) NOT IN (SELECT * FROM flying)
