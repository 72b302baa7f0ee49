-- Makes up to 10,000 rows of triple that differ from their definition anew, under lock. Returns how many.
SELECT count(*), triple_recompute(array_agg(term_id))
FROM (
        SELECT term_id
        FROM (
                SELECT
                        term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block,
                        last_event_log_index, last_event_transaction, first_event_block, first_event_log_index, created_at,
                        updated_at
                FROM triple_expected
        ) expected
        FULL JOIN (
                SELECT
                        term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block,
                        last_event_log_index, last_event_transaction, first_event_block, first_event_log_index, created_at,
                        updated_at
                FROM triple t
        ) actual USING (term_id)
        WHERE expected IS DISTINCT FROM actual
        LIMIT 10000
) differing
HAVING count(*) > 0
