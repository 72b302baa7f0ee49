-- $1 bucket numbers. Locks them in order, to the end of the transaction: its holder is alone with the terms in them, their outbox rows and their
-- vaults' numbers of holders. The outbox is named for its schema: another one's buckets are others.
SELECT pg_advisory_xact_lock('vault_outbox'::regclass::oid::int, bucket)
FROM (SELECT DISTINCT b::int AS bucket FROM unnest($1::bigint[]) k (b) ORDER BY 1 OFFSET 0) b
