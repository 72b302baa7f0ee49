-- $1 bucket numbers, $2 a term id or '', $3 a number: so many of the terms that wait in these buckets, in order, behind this one.
SELECT DISTINCT k.term_id COLLATE "C"
FROM vault_outbox o CROSS JOIN LATERAL unnest(o.term_ids) k (term_id)
WHERE o.bucket = ANY ($1::bigint[]) AND k.term_id COLLATE "C" > $2
ORDER BY 1 LIMIT $3::bigint
