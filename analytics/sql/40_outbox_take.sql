-- $1 ids of outbox rows, $2, $3 the triples that they mean, all locked, or NULL. Takes the rows and returns the triples of those that were still
-- there: of the others somebody took them who held the lock before, and has made the triple anew. A row that another worker is just taking is
-- that worker's. An array and a hashed list: a join of an outbox that was vacuumed while it was empty looks at each pair of rows.
WITH gone AS (
        DELETE FROM term_outbox
        WHERE id = ANY (ARRAY(SELECT id FROM term_outbox WHERE id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED))
        RETURNING id
)
SELECT DISTINCT k.term_id, k.counter_term_id
FROM unnest($1::bigint[], $2::text[], $3::text[]) k (id, term_id, counter_term_id)
WHERE k.term_id IS NOT NULL AND (k.id IN (SELECT id FROM gone)) IS TRUE
