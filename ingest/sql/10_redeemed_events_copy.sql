-- A batch of new events in the same order and columns as 10_redeemed_events_insert: 23505 where one was there before.
COPY redeemed_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, sender, receiver, term_id, curve_id, shares, total_shares, assets, fees, vault_type) FROM STDIN (FORMAT binary)
