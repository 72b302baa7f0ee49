-- $1 term ids, among them one of a triple that went. Waits for those who are writing triples of the same buckets: one of them may still see such a
-- triple, and be just making its rows. Once it has committed they are seen, and removed.
SELECT pg_advisory_xact_lock('triple_term'::regclass::oid::int, bucket)
FROM (SELECT DISTINCT vault_bucket(t) AS bucket FROM unnest($1::text[]) k (t) ORDER BY 1 OFFSET 0) b
