-- $1 to $13: events that are on the chain and were missing, one array a column (sighting.h); $14 the moment; $15 and $16 blocks that are not on
-- the chain; $17 to $21 events that are not in their block. Under the exclusive lock. Returns the keys it touched, and in a row without key how
-- many event rows moved.
SELECT t.* FROM (
        SELECT coalesce(array_agg(e.source_table), '{}') AS tables, coalesce(array_agg(e.transaction_hash), '{}') AS transactions,
                coalesce(array_agg(e.log_index), '{}') AS indexes, coalesce(array_agg(e.block_number), '{}') AS blocks,
                coalesce(array_agg(e.block_hash), '{}') AS block_hashes,
                coalesce(array_agg(event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                        e.transaction_index, e.block_timestamp)), '{}') AS event_rows
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::text[],
                $11::bigint[], $12::bigint[], $13::text[])
                AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                        stream_ms, stream_seq, own)
) a CROSS JOIN LATERAL chain_settle($14::bigint, $15::bigint[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::text[],
        a.tables, a.transactions, a.indexes, a.blocks, a.block_hashes, a.event_rows) t
