-- $1 term ids of a batch: those for which something waits in the outbox, in lock order. The others were folded by whoever came first.
SELECT DISTINCT term_id FROM vault_outbox WHERE term_id = ANY ($1::text[]) ORDER BY term_id
