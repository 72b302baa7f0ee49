-- Decoded events as a stream holds them, one array a column (sighting.h).
INSERT INTO audit_event (source_table, transaction_hash, log_index, settled, stream, stream_ms, stream_seq, place, event_row)
SELECT e.source_table, e.transaction_hash, e.log_index, e.settled = 1, e.stream, e.stream_ms, e.stream_seq, e.place,
        event_row(e.own::jsonb, e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network,
                e.transaction_index, e.block_timestamp)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::text[],
        $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::bigint[])
        AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                stream_ms, stream_seq, settled, own, place)
