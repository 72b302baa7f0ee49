-- $1 term ids of a batch: those for which something waits in the outbox, in lock order. The others were folded by whoever came first.
SELECT k.term_id
FROM (SELECT DISTINCT t COLLATE "C" AS term_id FROM unnest($1::text[]) t) k
WHERE EXISTS (SELECT FROM vault_outbox o WHERE o.term_id = k.term_id)
ORDER BY k.term_id
