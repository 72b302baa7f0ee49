-- $1 ids of outbox rows whose triples are locked, or that mean none. A row that another worker is just taking is that worker's.
DELETE FROM term_outbox WHERE id IN (SELECT id FROM term_outbox WHERE id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED)
