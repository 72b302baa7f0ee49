-- $1, $2 outbox rows (their terms, ids), $3, $4 the triples that they mean, all locked, or NULL. Takes the rows and returns the triples of those that
-- were still there: of the others somebody took them who held the lock before, and has made the triple anew. A row that another worker is just
-- taking is that worker's. By key, and a hashed list: a join of an outbox that was vacuumed while it was empty looks at each pair of rows.
WITH gone AS (
        DELETE FROM term_outbox WHERE ctid = ANY (ARRAY(
                SELECT o.ctid
                FROM (SELECT DISTINCT term_id COLLATE "C", id FROM unnest($1::text[], $2::bigint[]) u (term_id, id)) k (term_id, id)
                CROSS JOIN LATERAL (SELECT ctid FROM term_outbox w WHERE w.term_id = k.term_id AND w.id = k.id FOR UPDATE SKIP LOCKED) o))
        RETURNING term_id, id
)
SELECT DISTINCT k.term_id, k.counter_term_id
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) k (waiting, id, term_id, counter_term_id)
WHERE k.term_id IS NOT NULL AND ((k.waiting, k.id) IN (SELECT term_id, id FROM gone)) IS TRUE
