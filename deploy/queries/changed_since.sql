-- Vaults whose price changed in block :block or later, with the price as it is now.
SELECT v.term_id, v.curve_id, v.current_share_price, v.total_shares, v.market_cap, changed.last_block
FROM (SELECT term_id, curve_id, max(block_number) AS last_block FROM share_price_changed_events WHERE block_number >= :block
        GROUP BY term_id, curve_id) changed
JOIN vault v ON (v.term_id, v.curve_id) = (changed.term_id, changed.curve_id)
ORDER BY changed.last_block DESC;
