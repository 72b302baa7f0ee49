-- A batch of events, one array a column, in the order of (transaction_hash, log_index): two writers of the same rows then wait, never deadlock.
INSERT INTO redeemed_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, sender, receiver, term_id, curve_id, shares, total_shares, assets, fees, vault_type)
SELECT
        e.transaction_hash, e.log_index, e.address, e.block_hash, e.block_number, e.network, e.transaction_index,
        event_time(e.block_timestamp), e.stream, e.stream_ms, e.stream_seq, e.sender, e.receiver, e.term_id, e.curve_id,
        e.shares, e.total_shares, e.assets, e.fees, e.vault_type::smallint
FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
        $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $20::text[])
        AS e (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, sender, receiver, term_id, curve_id, shares, total_shares, assets, fees, vault_type)
ON CONFLICT (transaction_hash, log_index) DO NOTHING
