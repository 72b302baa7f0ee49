-- Rows of triple that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'triple', 'term_id=' || term_id, row_difference(to_jsonb(expected), to_jsonb(actual)), term_id
FROM (
        SELECT
                term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block,
                last_event_log_index, last_event_transaction, first_event_block, first_event_log_index, created_at,
                updated_at
        FROM triple_expected WHERE hashtext(term_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block,
                last_event_log_index, last_event_transaction, first_event_block, first_event_log_index, created_at,
                updated_at
        FROM triple t WHERE hashtext(term_id) % $1::int = 0
) actual USING (term_id)
WHERE expected IS DISTINCT FROM actual
