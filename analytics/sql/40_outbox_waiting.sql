-- $1 term ids, $2 a number: so many of the outbox rows (term, id) that wait for them, and the triple (its own or its counter's term) each one means,
-- NULL where it means none; in each row how many outbox rows these are, and whether any says that a triple went. A triple that comes or goes later leaves an outbox row of its own.
-- One look into the index a term: compared with a parameter's array, each row of the outbox is compared with each of its terms.
WITH waiting AS MATERIALIZED (
        SELECT o.id, k.term_id, o.gone
        FROM (SELECT DISTINCT term_id COLLATE "C" FROM unnest($1::text[]) u (term_id)) k (term_id)
        CROSS JOIN LATERAL (SELECT id, gone FROM term_outbox w WHERE w.term_id = k.term_id OFFSET 0) o
        LIMIT $2::bigint
)
SELECT o.term_id, unnest(o.ids), t.term_id, t.counter_term_id, (SELECT count(*) FROM waiting), (SELECT count(*) FROM waiting WHERE gone)
FROM (SELECT term_id, array_agg(id) AS ids FROM waiting GROUP BY term_id) o
LEFT JOIN LATERAL (
        SELECT term_id, counter_term_id FROM triple WHERE term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple WHERE counter_term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE counter_term_id = o.term_id
) t ON true
