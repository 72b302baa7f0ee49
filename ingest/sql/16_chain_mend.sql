-- $1 to $14: events of the table $16 as the chain has them, one array a column (sighting.h); $15 the moment. Under the exclusive lock. Returns
-- the keys it touched, and in a row without key how many rows were mended.
SELECT t.* FROM (
        SELECT array_agg(event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                e.transaction_index, e.block_timestamp)) AS event_rows
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::text[],
                $11::bigint[], $12::bigint[], $13::bigint[], $14::text[])
                AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                        stream_ms, stream_seq, settled, own)
        WHERE e.source_table = $16
        HAVING count(*) > 0
) a CROSS JOIN LATERAL chain_mend($16, $15::bigint, a.event_rows) t
