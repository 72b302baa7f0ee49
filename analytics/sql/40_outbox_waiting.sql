-- $1 term ids of a batch: the outbox rows that wait for them, and the triple (its own or its counter's term) each one means, NULL where
-- it means none; and the first of the triples that the row means. A triple that comes or goes later leaves an outbox row of its own.
SELECT o.id, t.term_id, t.counter_term_id, min(t.term_id) OVER (PARTITION BY o.id)
FROM term_outbox o
LEFT JOIN LATERAL (
        SELECT term_id, counter_term_id FROM triple WHERE term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple WHERE counter_term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE term_id = o.term_id
        UNION SELECT term_id, counter_term_id FROM triple_term WHERE counter_term_id = o.term_id
) t ON true
WHERE o.term_id = ANY ($1::text[])
