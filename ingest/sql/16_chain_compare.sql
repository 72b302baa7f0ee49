-- $1 to $13: the chain's events of a range, one array a column (sighting.h); $14 and $15 its first and last block; $16 the contract.
-- What differs: kind, place, table, transaction, log index, block, its hash, whether the event itself can be judged (chain_compare).
SELECT d.* FROM (
        SELECT coalesce(array_agg(e.source_table ORDER BY e.n), '{}') AS tables, coalesce(array_agg(e.transaction_hash ORDER BY e.n), '{}') AS transactions,
                coalesce(array_agg(e.log_index ORDER BY e.n), '{}') AS indexes, coalesce(array_agg(e.block_number ORDER BY e.n), '{}') AS blocks,
                coalesce(array_agg(e.block_hash ORDER BY e.n), '{}') AS block_hashes,
                coalesce(array_agg(event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                        e.transaction_index, e.block_timestamp) ORDER BY e.n), '{}') AS event_rows
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::text[],
                $11::bigint[], $12::bigint[], $13::text[]) WITH ORDINALITY
                AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                        stream_ms, stream_seq, own, n)
) a CROSS JOIN LATERAL chain_compare($14::bigint, $15::bigint, $16, a.tables, a.transactions, a.indexes, a.blocks, a.block_hashes, a.event_rows) d
ORDER BY d.block_number, d.log_index, d.source_table
