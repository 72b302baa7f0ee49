-- The careful way in, under the exclusive lock: decoded events, one array a column (sighting.h). Returns the keys it touched, and in a row
-- without key how many event rows moved.
SELECT t.* FROM (
        SELECT array_agg(e.source_table) AS tables, array_agg(e.transaction_hash) AS transactions, array_agg(e.log_index) AS indexes,
                array_agg(e.block_number) AS blocks, array_agg(e.block_hash) AS block_hashes,
                array_agg(event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                        e.transaction_index, e.block_timestamp)) AS event_rows,
                array_agg(e.stream) AS streams, array_agg(e.stream_ms) AS ms, array_agg(e.stream_seq) AS seq,
                array_agg(e.place) AS places
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::text[],
                $11::bigint[], $12::bigint[], $13::text[], $14::bigint[])
                AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                        stream_ms, stream_seq, own, place)
) a CROSS JOIN LATERAL event_take(a.tables, a.transactions, a.indexes, a.blocks, a.block_hashes, a.event_rows, a.streams, a.ms, a.seq, a.places) t
