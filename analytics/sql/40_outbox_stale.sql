-- $1 age in milliseconds, $2 terms and $3 buckets that pending entries name: what has waited longer and none of these names, as (bucket, term, curve,
-- block): terms, or, where more than 1,000 rows wait, their buckets.
WITH stale AS MATERIALIZED (
        SELECT o.* FROM term_outbox o
        WHERE o.created_at < now() - $1::bigint * interval '1 millisecond'
                AND (vault_bucket(o.term_id) IN (SELECT unnest($3::bigint[]))) IS NOT TRUE
                AND (o.term_id IN (SELECT unnest($2::text[]))) IS NOT TRUE
        LIMIT 1001
), size AS (
        SELECT count(*) > 1000 AS is_large FROM stale
)
SELECT NULL, o.term_id, NULL, max(o.block_number)
FROM stale o
WHERE NOT (SELECT is_large FROM size)
GROUP BY o.term_id
UNION ALL
SELECT b::text, NULL, NULL, max(block_number)
FROM (SELECT vault_bucket(term_id) AS b, block_number FROM term_outbox
        WHERE created_at < now() - $1::bigint * interval '1 millisecond' AND (SELECT is_large FROM size)
                AND (term_id IN (SELECT unnest($2::text[]))) IS NOT TRUE) o
WHERE (b IN (SELECT unnest($3::bigint[]))) IS NOT TRUE
GROUP BY b
