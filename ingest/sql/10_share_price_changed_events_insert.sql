-- A batch of events, one array a column, in the order of (transaction_hash, log_index): two writers of the same rows then wait, never deadlock.
INSERT INTO share_price_changed_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, term_id, curve_id, share_price, total_assets, total_shares, vault_type)
SELECT
        e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network, e.transaction_index,
        event_time(e.block_timestamp), e.stream, e.stream_ms, e.stream_seq, e.term_id, e.curve_id, e.share_price,
        e.total_assets, e.total_shares, e.vault_type::smallint
FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
        $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
        AS e (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, term_id, curve_id, share_price, total_assets, total_shares, vault_type)
ON CONFLICT (transaction_hash, log_index) DO NOTHING
