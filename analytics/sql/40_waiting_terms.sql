-- $1 bucket numbers, $2 a term id or '', $3 a number: so many of the terms that wait in these buckets, in order, behind this one. A bucket is a range
-- of ids, so that the index finds its rows.
SELECT DISTINCT o.term_id
FROM (SELECT '0x' || lpad(to_hex(b * 4), 2, '0') AS first, '0x' || lpad(to_hex(b * 4 + 3), 2, '0') || 'g' AS behind FROM unnest($1::bigint[]) k (b)) r
CROSS JOIN LATERAL (
        SELECT DISTINCT term_id FROM term_outbox
        WHERE term_id >= r.first COLLATE "C" AND term_id < r.behind COLLATE "C" AND term_id > $2
        ORDER BY term_id LIMIT $3::bigint
) o
ORDER BY 1 LIMIT $3::bigint
