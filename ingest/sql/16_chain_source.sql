-- What the stored events say of the chain: the contract's address (the least and the greatest of the first and the last event of each table),
-- and the chain's id.
SELECT min(edge.address), max(edge.address), (SELECT chain_id FROM chain_state)
FROM unnest(event_tables()) t (name) CROSS JOIN LATERAL (
        (SELECT address FROM event_standing WHERE source_table = t.name ORDER BY block_number LIMIT 1)
        UNION ALL (SELECT address FROM event_standing WHERE source_table = t.name ORDER BY block_number DESC LIMIT 1)) edge
WHERE t.name <> 'generic_events'
