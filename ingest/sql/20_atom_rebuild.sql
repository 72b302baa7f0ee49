-- Makes up to 10,000 rows of atom that differ from their definition anew, under lock. Returns how many.
SELECT count(*), atom_recompute(array_agg(term_id))
FROM (
        SELECT term_id
        FROM (
                SELECT
                        term_id, wallet_id, creator_id, data, raw_data, last_event_block, last_event_log_index,
                        last_event_transaction, first_event_block, first_event_log_index, created_at, updated_at
                FROM atom_expected
        ) expected
        FULL JOIN (
                SELECT
                        term_id, wallet_id, creator_id, data, raw_data, last_event_block, last_event_log_index,
                        last_event_transaction, first_event_block, first_event_log_index, created_at, updated_at
                FROM atom t
        ) actual USING (term_id)
        WHERE expected IS DISTINCT FROM actual
        LIMIT 10000
) differing
HAVING count(*) > 0
