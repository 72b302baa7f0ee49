-- All deposits and redemptions that an account received (as receiver; another may have sent them). :account
SELECT block_number, log_index, 'deposit' AS what, term_id, curve_id, assets::numeric, transaction_hash
FROM deposited_events WHERE receiver = :'account'
UNION ALL
SELECT block_number, log_index, 'redemption', term_id, curve_id, assets::numeric, transaction_hash
FROM redeemed_events WHERE receiver = :'account'
ORDER BY block_number, log_index;
