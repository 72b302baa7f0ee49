-- Among the blocks of the newest 20,000 events: how many numbers have two live blocks. For a gauge; so many, that it costs the same however many there are.
SELECT count(*) FROM (
        SELECT FROM (SELECT block_number, block_hash FROM event_standing ORDER BY block_number DESC LIMIT 20000) newest
        GROUP BY block_number HAVING min(block_hash) <> max(block_hash)) conflicting
