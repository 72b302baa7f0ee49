-- Before a service that reconciles takes events: where no reconciling has ever come to its end, it begins at the last block of which an event is
-- stored. Later there may be newer ones behind a gap.
UPDATE chain_state SET reconciled_block = (SELECT max(block_number) FROM (
        (SELECT block_number FROM atom_created_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT block_number FROM triple_created_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT block_number FROM deposited_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT block_number FROM redeemed_events ORDER BY block_number DESC LIMIT 1)
        UNION ALL (SELECT block_number FROM share_price_changed_events ORDER BY block_number DESC LIMIT 1)) e)
WHERE reconciled_block IS NULL
