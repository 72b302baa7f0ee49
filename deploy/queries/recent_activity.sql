-- What happened last? The view is newest first.
SELECT block_number, log_index, kind, account, assets, left(label, 40) AS label
FROM api.activity
LIMIT 20;
-- The recording answers:
--  block_number | log_index |    kind    |                  account                   |        assets         |                  label
-- --------------+-----------+------------+--------------------------------------------+-----------------------+------------------------------------------
--           476 |        23 | redemption | 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 |    275419514133955180 | big 13 0 8 xxxxxxxxxxxxxxxxxxxxxxxxxxxxx
--           476 |        17 | redemption | 0x14dC79964da2C08b23698B3D3cc7Ca32193d9955 |   1047023122824342792 | 0xae14c4…f7b6 follows Intuition
--           476 |        13 | deposit    | 0x90F79bf6EB2c4f870365E785982E1f101E93b906 |    887000000628398090 | ipfs://bafkreigh2akiscaildcqabsyg3dfr6ch
--           476 |         2 | redemption | 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 |    741113999999999009 | big 7 0 58 xxxxxxxxxxxxxxxxxxxxxxxxxxxxx
-- (20 rows)
