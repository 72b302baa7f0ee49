-- Among the newest 10,000 blocks: how many numbers have two live blocks. For a gauge, every now and then.
SELECT count(*) FROM (
        SELECT FROM event_standing
        WHERE block_number > (SELECT max(n) - 10000 FROM (
                SELECT max(block_number) AS n FROM atom_created_events UNION ALL SELECT max(block_number) FROM triple_created_events
                UNION ALL SELECT max(block_number) FROM deposited_events UNION ALL SELECT max(block_number) FROM redeemed_events
                UNION ALL SELECT max(block_number) FROM share_price_changed_events UNION ALL SELECT max(block_number) FROM generic_events) newest)
        GROUP BY block_number HAVING min(block_hash) <> max(block_hash)) conflicting
