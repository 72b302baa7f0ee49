-- Decoded events as a stream holds them, one array a column: the event table, what the event's type has of its own as JSON, what all have.
INSERT INTO audit_event (source_table, transaction_hash, log_index, settled, stream, stream_ms, stream_seq, event_row)
SELECT e.source_table, e.transaction_hash, e.log_index, e.settled = 1, e.stream, e.stream_ms, e.stream_seq,
        e.own::jsonb || jsonb_build_object('transaction_hash', e.transaction_hash, 'log_index', e.log_index, 'address', e.address,
                'block_hash', e.block_hash, 'block_number', e.block_number, 'network', e.network, 'transaction_index', e.transaction_index,
                'block_timestamp', to_timestamp(e.block_timestamp))
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::text[],
        $11::bigint[], $12::bigint[], $13::bigint[], $14::text[])
        AS e (source_table, transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
                stream_ms, stream_seq, settled, own)
