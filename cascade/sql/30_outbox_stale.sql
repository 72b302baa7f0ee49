-- $1 age in milliseconds, $2 terms and $3 buckets that pending entries name: what has waited longer and none of these names, as (bucket, term, curve,
-- block): terms, or, where more than 1,000 rows wait, their buckets.
WITH stale AS MATERIALIZED (
        SELECT o.* FROM vault_outbox o
        WHERE o.created_at < now() - $1::bigint * interval '1 millisecond'
                AND (o.bucket IN (SELECT unnest($3::bigint[]))) IS NOT TRUE
                AND (cardinality($2::text[]) = 0 OR NOT o.term_ids <@ $2::text[])
        LIMIT 1001
), size AS (
        SELECT count(*) > 1000 AS is_large FROM stale
)
SELECT NULL, k.term_id, k.curve_id, max(o.block_number)
FROM stale o CROSS JOIN LATERAL unnest(o.term_ids, o.curve_ids) k (term_id, curve_id)
WHERE NOT (SELECT is_large FROM size) AND (k.term_id IN (SELECT unnest($2::text[]))) IS NOT TRUE
GROUP BY k.term_id, k.curve_id
UNION ALL
SELECT b::text, NULL, NULL, max(block_number)
FROM (SELECT bucket AS b, block_number FROM vault_outbox
        WHERE created_at < now() - $1::bigint * interval '1 millisecond' AND (SELECT is_large FROM size)
                AND (cardinality($2::text[]) = 0 OR NOT term_ids <@ $2::text[])) o
WHERE (b IN (SELECT unnest($3::bigint[]))) IS NOT TRUE
GROUP BY b
