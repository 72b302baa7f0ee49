-- $1 terms of triples, or NULL. Before their rows are locked: who waits for all writers of a bucket (40_triple_settle) waits for this transaction.
SELECT pg_advisory_xact_lock_shared('triple_term'::regclass::oid::int, bucket)
FROM (SELECT DISTINCT vault_bucket(t) AS bucket FROM unnest($1::text[]) k (t) WHERE t IS NOT NULL ORDER BY 1 OFFSET 0) b
