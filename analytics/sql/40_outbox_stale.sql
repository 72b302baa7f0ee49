-- $1 age in milliseconds: keys whose rows have waited longer
SELECT term_id, NULL, max(block_number)
FROM term_outbox
WHERE created_at < now() - $1::bigint * interval '1 millisecond'
GROUP BY term_id ORDER BY min(created_at) LIMIT 10000
