-- A batch of events, one array a column, in the order of (transaction_hash, log_index): two writers of the same rows then wait, never deadlock.
INSERT INTO generic_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, event_name, event_data)
SELECT
        e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network, e.transaction_index,
        event_time(e.block_timestamp), e.stream, e.stream_ms, e.stream_seq, e.event_name, e.event_data::jsonb
FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
        $10::bigint[], $11::bigint[], $12::text[], $13::text[])
        AS e (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, event_name, event_data)
ON CONFLICT (transaction_hash, log_index) DO NOTHING
