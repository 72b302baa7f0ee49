-- Rows of position that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'position', 'account_id=' || account_id || ' ' || 'term_id=' || term_id || ' ' || 'curve_id=' || curve_id, row_difference(to_jsonb(expected), to_jsonb(actual)), account_id, term_id, curve_id
FROM (
        SELECT
                account_id, term_id, curve_id, shares, total_deposit_assets_after_total_fees,
                total_redeem_assets_for_receiver, last_event_block, last_event_log_index, last_event_transaction,
                first_is_deposit, first_event_block, first_event_log_index, created_at, updated_at
        FROM position_expected WHERE hashtext(account_id || term_id || curve_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                account_id, term_id, curve_id, shares, total_deposit_assets_after_total_fees,
                total_redeem_assets_for_receiver, last_event_block, last_event_log_index, last_event_transaction,
                first_is_deposit, first_event_block, first_event_log_index, created_at, updated_at
        FROM position t WHERE hashtext(account_id || term_id || curve_id) % $1::int = 0
) actual USING (account_id, term_id, curve_id)
WHERE expected IS DISTINCT FROM actual
