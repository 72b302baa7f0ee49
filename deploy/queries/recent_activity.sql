-- The last twenty deposits and redemptions.
SELECT * FROM (
        (SELECT block_number, log_index, 'deposit' AS what, receiver AS account, term_id, curve_id, assets, block_timestamp
        FROM deposited_events ORDER BY block_number DESC LIMIT 20)
        UNION ALL
        (SELECT block_number, log_index, 'redemption', receiver, term_id, curve_id, assets, block_timestamp
        FROM redeemed_events ORDER BY block_number DESC LIMIT 20)) both_kinds
ORDER BY block_number DESC, log_index DESC
LIMIT 20;
