-- Two live blocks with one number: the number and the hashes. For a person to look at: rindexer may not have told of a reorg.
SELECT block_number, string_agg(DISTINCT block_hash, ', ')
FROM event_standing GROUP BY block_number HAVING min(block_hash) <> max(block_hash) ORDER BY block_number
