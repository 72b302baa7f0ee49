-- Under the exclusive lock: brings versions that do not stand where the reorgs put them to their places. Returns how many rows moved.
SELECT event_settle(array_agg(b.block_number), array_agg(b.block_hash))
FROM (
        SELECT DISTINCT s.block_number, s.block_hash
        FROM event_misplaced() m
        JOIN event_sighting s ON (s.source_table, s.transaction_hash, s.log_index, s.block_hash)
                = (m.source_table, m.transaction_hash, m.log_index, m.block_hash)
) b
HAVING count(*) > 0
