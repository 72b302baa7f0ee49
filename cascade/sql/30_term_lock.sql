-- $1 term ids. Locks their rows in order, made where there is none yet. DO UPDATE … WHERE false locks and writes nothing. Returns those made.
INSERT INTO term AS t (id)
SELECT DISTINCT id COLLATE "C" FROM unnest($1::text[]) k (id) ORDER BY 1
ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE false
RETURNING t.id
