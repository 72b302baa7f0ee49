-- $1 term ids of a batch: those for which something waits in the outbox, in lock order. The others were folded by whoever came first.
-- Key by key, whatever the planner takes an outbox for: one that was vacuumed while it was empty has no rows, to him.
SELECT k.term_id
FROM (SELECT DISTINCT t COLLATE "C" AS term_id FROM unnest($1::text[]) t) k
CROSS JOIN LATERAL (SELECT FROM vault_outbox o WHERE o.term_id = k.term_id LIMIT 1) o
ORDER BY k.term_id
