-- $1, $2 triples (term, counter term), or NULL. Locks their rows in order, made where there is none yet. Returns those made.
INSERT INTO triple_term AS t (term_id, counter_term_id)
SELECT DISTINCT a COLLATE "C", b COLLATE "C" FROM unnest($1::text[], $2::text[]) k (a, b) WHERE a IS NOT NULL ORDER BY 1, 2
ON CONFLICT (term_id, counter_term_id) DO UPDATE SET term_id = excluded.term_id WHERE false
RETURNING t.term_id, t.counter_term_id
