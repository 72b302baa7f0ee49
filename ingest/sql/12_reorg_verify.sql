-- Versions of events that do not stand where the reorgs put them. Table, key and difference.
SELECT source_table, 'transaction_hash=' || transaction_hash || ' log_index=' || log_index || ' block_hash=' || block_hash,
        CASE WHEN wins THEN 'the row is missing: its block is live' ELSE 'the row should be in orphaned_events: its block is orphaned, or a later one has it' END
FROM event_misplaced()
