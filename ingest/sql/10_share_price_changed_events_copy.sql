-- A batch of new events in the same order and columns as 10_share_price_changed_events_insert: 23505 where one was there before.
COPY share_price_changed_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, term_id, curve_id, share_price, total_assets, total_shares, vault_type) FROM STDIN (FORMAT binary)
