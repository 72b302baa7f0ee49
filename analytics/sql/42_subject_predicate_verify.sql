-- Rows of subject_predicate that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH waiting AS MATERIALIZED (
        SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox
), flying AS MATERIALIZED (
        SELECT subject_id, predicate_id FROM triple WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
        UNION
        SELECT counted_subject_id, counted_predicate_id FROM triple_term
        WHERE counted_predicate_id IS NOT NULL
                AND (term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting))
)
SELECT 'subject_predicate', 'subject_id=' || subject_id || ' ' || 'predicate_id=' || predicate_id, row_difference(to_jsonb(expected), to_jsonb(actual)), subject_id, predicate_id
FROM (
        SELECT
                subject_id, predicate_id, triple_count, total_position_count, total_market_cap
        FROM subject_predicate_expected WHERE hashtext(subject_id || predicate_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                subject_id, predicate_id, triple_count, total_position_count, total_market_cap
        FROM subject_predicate t WHERE hashtext(subject_id || predicate_id) % $1::int = 0
) actual USING (subject_id, predicate_id)
WHERE expected IS DISTINCT FROM actual
        AND (subject_id, predicate_id) NOT IN (SELECT * FROM flying)
