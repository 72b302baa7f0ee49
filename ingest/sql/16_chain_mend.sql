-- $1 to $13: events of the table $15 as the chain has them, one array a column (sighting.h); $14 the moment. Under the exclusive lock. Returns
-- the keys it touched, and in a row without key how many rows were mended.
SELECT t.* FROM (
        SELECT array_agg(event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                e.transaction_index, e.block_timestamp)) AS event_rows
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::text[],
                $11::bigint[], $12::bigint[], $13::text[])
                AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                        stream_ms, stream_seq, own)
        WHERE e.source_table = $15
        HAVING count(*) > 0
) a CROSS JOIN LATERAL chain_mend($15, $14::bigint, a.event_rows) t
