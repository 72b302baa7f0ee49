-- Blocks up to $1 that the stored events say are on the chain, old ones and new ones: is the node on the same chain?
(SELECT DISTINCT block_number, block_hash FROM (
        SELECT block_number, block_hash FROM event_standing WHERE source_table <> 'generic_events' AND block_number <= $1::bigint
        ORDER BY block_number LIMIT 1500) first ORDER BY 1 LIMIT 8)
UNION
(SELECT DISTINCT block_number, block_hash FROM (
        SELECT block_number, block_hash FROM event_standing WHERE source_table <> 'generic_events' AND block_number <= $1::bigint
        ORDER BY block_number DESC LIMIT 1500) last ORDER BY 1 DESC LIMIT 8)
ORDER BY 1
