-- Events that reorgs took out of the tables, from block :block on.
SELECT source_table, block_number, transaction_hash, log_index, reason, orphaned_at
FROM orphaned_events WHERE block_number >= :block ORDER BY block_number, log_index;
