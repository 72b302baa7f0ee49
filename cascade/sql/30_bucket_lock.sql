-- $1 term ids. Locks their buckets in order, to the end of the transaction: who has a bucket is alone with the terms in it, their outbox rows
-- and their vaults' numbers of holders.
SELECT pg_advisory_xact_lock(hashtext('bucket'), bucket)
FROM (SELECT DISTINCT vault_bucket(term_id)::int AS bucket FROM unnest($1::text[]) k (term_id) ORDER BY 1 OFFSET 0) b
