-- $1 term ids of a batch: the outbox rows that wait for them, and the triple (its own or its counter's term) each one means, NULL where
-- it means none. A triple that comes or goes later leaves an outbox row of its own.
-- One look into the index a term: compared with a parameter's array, each row of the outbox is compared with each of its terms.
SELECT unnest(o.ids), t.term_id, t.counter_term_id
FROM (SELECT DISTINCT term_id COLLATE "C" FROM unnest($1::text[]) u (term_id)) k (term_id)
CROSS JOIN LATERAL (SELECT array_agg(id) AS ids FROM term_outbox w WHERE w.term_id = k.term_id) o
LEFT JOIN LATERAL (
        SELECT term_id, counter_term_id FROM triple WHERE term_id = k.term_id
        UNION SELECT term_id, counter_term_id FROM triple WHERE counter_term_id = k.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE term_id = k.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE counter_term_id = k.term_id
) t ON true
WHERE o.ids IS NOT NULL
