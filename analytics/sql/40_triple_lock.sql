-- $1, $2 triples (term, counter term). Locks their rows in order, made where there is none yet.
INSERT INTO triple_term AS t (term_id, counter_term_id)
SELECT DISTINCT a COLLATE "C", b COLLATE "C" FROM unnest($1::text[], $2::text[]) k (a, b) ORDER BY 1, 2
ON CONFLICT (term_id, counter_term_id) DO UPDATE SET term_id = excluded.term_id WHERE false
