-- $1 age in milliseconds: keys whose rows have waited longer
SELECT term_id, curve_id, max(block_number)
FROM vault_waiting
WHERE created_at < now() - $1::bigint * interval '1 millisecond'
GROUP BY term_id, curve_id ORDER BY min(created_at) LIMIT 10000
