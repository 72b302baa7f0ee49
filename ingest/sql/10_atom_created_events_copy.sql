-- A batch of new events in the same order and columns as 10_atom_created_events_insert: 23505 where one was there before.
COPY atom_created_events (
        transaction_hash, log_index, address, block_hash, block_number, network, transaction_index, block_timestamp, stream,
        stream_ms, stream_seq, creator, term_id, atom_data, raw_data, atom_wallet) FROM STDIN (FORMAT binary)
