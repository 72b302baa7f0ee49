-- What the stored events say of the chain: the contract's address (the least and the greatest of the first and the last event of each table),
-- and the chain's id.
WITH edge AS (
        (SELECT address, block_number FROM atom_created_events ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address, block_number FROM atom_created_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT address, block_number FROM triple_created_events ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address, block_number FROM triple_created_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT address, block_number FROM deposited_events ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address, block_number FROM deposited_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT address, block_number FROM redeemed_events ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address, block_number FROM redeemed_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT address, block_number FROM share_price_changed_events ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address, block_number FROM share_price_changed_events ORDER BY block_number DESC LIMIT 1)
)
SELECT min(address), max(address), (SELECT chain_id FROM chain_state) FROM edge
