-- Rows of vault that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'vault', 'term_id=' || term_id || ' ' || 'curve_id=' || curve_id, row_difference(to_jsonb(expected), to_jsonb(actual)), term_id, curve_id
FROM (
        SELECT
                term_id, curve_id, total_shares, current_share_price, total_assets, vault_type, price_event_block,
                price_event_log_index, price_event_transaction, first_event_block, first_event_log_index, created_at,
                updated_at
        FROM vault_expected WHERE hashtext(term_id || curve_id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                term_id, curve_id, total_shares, current_share_price, total_assets, vault_type, price_event_block,
                price_event_log_index, price_event_transaction, first_event_block, first_event_log_index, created_at,
                updated_at
        FROM vault t WHERE hashtext(term_id || curve_id) % $1::int = 0
                -- without events and not yet buried by cascade
                AND NOT (first_event_block IS NULL AND t.term_id IN (SELECT term_id FROM vault_waiting))
) actual USING (term_id, curve_id)
WHERE expected IS DISTINCT FROM actual
