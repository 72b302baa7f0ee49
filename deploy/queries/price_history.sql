-- The last hundred prices of a vault. :term, :curve
SELECT block_number, log_index, block_timestamp, share_price::numeric, total_assets::numeric, total_shares::numeric
FROM share_price_changed_events
WHERE term_id = :'term' AND curve_id = :'curve'
ORDER BY block_number DESC, log_index DESC
LIMIT 100;
