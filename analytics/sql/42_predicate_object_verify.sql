-- Rows of predicate_object that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH waiting AS MATERIALIZED (
        SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox
), flying AS MATERIALIZED (
        SELECT predicate_id, object_id FROM triple WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
        UNION
        SELECT counted_predicate_id, counted_object_id FROM triple_term
        WHERE counted_predicate_id IS NOT NULL
                AND (term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting))
)
SELECT 'predicate_object', 'predicate_id=' || predicate_id || ' ' || 'object_id=' || object_id, row_difference(to_jsonb(expected), to_jsonb(actual)), predicate_id, object_id
FROM (
        SELECT
                predicate_id, object_id, triple_count, total_position_count, total_market_cap
        FROM predicate_object_expected WHERE hashtext(predicate_id || object_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                predicate_id, object_id, triple_count, total_position_count, total_market_cap
        FROM predicate_object t WHERE hashtext(predicate_id || object_id) % $1::int = 0
) actual USING (predicate_id, object_id)
WHERE expected IS DISTINCT FROM actual
        AND (predicate_id, object_id) NOT IN (SELECT * FROM flying)
