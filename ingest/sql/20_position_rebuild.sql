-- Makes up to 10,000 rows of position that differ from their definition anew, under lock. Returns how many.
-- The count of holders does not move: whatever changed the row by hand did not move it either; cascade's rebuild counts anew.
SELECT count(*), position_recompute(array_agg(account_id), array_agg(term_id), array_agg(curve_id), false)
FROM (
        SELECT account_id, term_id, curve_id
        FROM (
                SELECT
                        account_id, term_id, curve_id, shares, total_deposit_assets_after_total_fees,
                        total_redeem_assets_for_receiver, last_event_block, last_event_log_index, last_event_transaction,
                        first_is_deposit, first_event_block, first_event_log_index, created_at, updated_at
                FROM position_expected
        ) expected
        FULL JOIN (
                SELECT
                        account_id, term_id, curve_id, shares, total_deposit_assets_after_total_fees,
                        total_redeem_assets_for_receiver, last_event_block, last_event_log_index, last_event_transaction,
                        first_is_deposit, first_event_block, first_event_log_index, created_at, updated_at
                FROM position t
        ) actual USING (account_id, term_id, curve_id)
        WHERE expected IS DISTINCT FROM actual
        LIMIT 10000
) differing
HAVING count(*) > 0
