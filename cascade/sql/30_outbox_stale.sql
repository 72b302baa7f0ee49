-- $1 age in milliseconds, $2 terms and $3 buckets that entries name which are pending: keys whose rows have waited longer and that none of these names
SELECT term_id, curve_id, max(block_number)
FROM vault_waiting
WHERE created_at < now() - $1::bigint * interval '1 millisecond'
        AND (term_id IN (SELECT unnest($2::text[]))) IS NOT TRUE AND (vault_bucket(term_id) IN (SELECT unnest($3::bigint[]))) IS NOT TRUE
GROUP BY term_id, curve_id ORDER BY min(created_at) LIMIT 10000
