-- All prices of a span of time. :since, :until (such as '2026-03-01 12:00+00'). Times have a BRIN index, good for spans; for the newest events
-- first use ORDER BY block_number DESC, as recent_activity.sql does.
SELECT block_timestamp, block_number, log_index, term_id, curve_id, share_price::numeric
FROM share_price_changed_events
WHERE block_timestamp >= :'since' AND block_timestamp < :'until'
ORDER BY block_number, log_index;
