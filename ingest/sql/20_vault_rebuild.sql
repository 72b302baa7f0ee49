-- Makes up to 10,000 rows of vault that differ from their definition anew, under lock. Returns how many.
SELECT count(*), vault_recompute(array_agg(term_id), array_agg(curve_id))
FROM (
        SELECT term_id, curve_id
        FROM (
                SELECT
                        term_id, curve_id, total_shares, current_share_price, total_assets, vault_type, price_event_block,
                        price_event_log_index, price_event_transaction, first_event_block, first_event_log_index, created_at,
                        updated_at
                FROM vault_expected
        ) expected
        FULL JOIN (
                SELECT
                        term_id, curve_id, total_shares, current_share_price, total_assets, vault_type, price_event_block,
                        price_event_log_index, price_event_transaction, first_event_block, first_event_log_index, created_at,
                        updated_at
                FROM vault t WHERE NOT (first_event_block IS NULL AND t.term_id IN (SELECT term_id FROM vault_waiting))
        ) actual USING (term_id, curve_id)
        WHERE expected IS DISTINCT FROM actual
        LIMIT 10000
) differing
HAVING count(*) > 0
