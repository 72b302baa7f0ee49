-- The terms whose row, or whose vaults' number of holders or market cap, differ from their definition; and those that wait, for a number of holders
-- may be wrong by just what the outbox will add.
SELECT keys[1] FROM table_difference('vault', 'vault_count_expected', NULL, 1)
UNION SELECT keys[1] FROM table_difference('term', 'term_expected', NULL, 1)
UNION SELECT term_id FROM vault_waiting
ORDER BY 1
