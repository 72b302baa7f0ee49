-- Blocks up to $1 that the stored events say are on the chain, old ones and new ones: is the node on the same chain?
WITH block AS (
        (SELECT block_number, block_hash FROM share_price_changed_events WHERE block_number <= $1::bigint ORDER BY block_number LIMIT 500)
        UNION (SELECT block_number, block_hash FROM deposited_events WHERE block_number <= $1::bigint ORDER BY block_number LIMIT 500)
        UNION (SELECT block_number, block_hash FROM atom_created_events WHERE block_number <= $1::bigint ORDER BY block_number LIMIT 500)
        UNION (SELECT block_number, block_hash FROM share_price_changed_events WHERE block_number <= $1::bigint ORDER BY block_number DESC LIMIT 500)
        UNION (SELECT block_number, block_hash FROM deposited_events WHERE block_number <= $1::bigint ORDER BY block_number DESC LIMIT 500)
        UNION (SELECT block_number, block_hash FROM atom_created_events WHERE block_number <= $1::bigint ORDER BY block_number DESC LIMIT 500)
)
(SELECT block_number, block_hash FROM block ORDER BY block_number LIMIT 8)
UNION
(SELECT block_number, block_hash FROM block ORDER BY block_number DESC LIMIT 8)
ORDER BY block_number
