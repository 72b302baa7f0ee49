-- What were all prices of a span of time? :since, :until. Times have a BRIN index, which is for spans; for the newest prices ORDER BY block_number DESC.
\if :{?since} \else \set since '2026-10-25 00:00+00' \endif
\if :{?until} \else \set until '2026-10-26 00:00+00' \endif
SELECT block_timestamp, block_number, log_index, share_price, term_id, curve_id
FROM api.price
WHERE block_timestamp >= :'since' AND block_timestamp < :'until'
ORDER BY block_number, log_index;
-- The recording answers:
--     block_timestamp     | block_number | log_index |      share_price      |                              term_id                               | curve_id
-- ------------------------+--------------+-----------+-----------------------+--------------------------------------------------------------------+----------
--  2026-10-25 01:44:33+00 |          108 |         3 |   1467107506347867916 | 0xe86c244bcaf9a24099bc1828731c223c1ee1159c76f9af4c5ea4925182bf15f1 | 1
--  2026-10-25 01:44:33+00 |          108 |         5 |   1467003498160897569 | 0xe86c244bcaf9a24099bc1828731c223c1ee1159c76f9af4c5ea4925182bf15f1 | 1
--  2026-10-25 01:44:33+00 |          108 |         9 |   1000000000000000000 | 0x7fcb9ea8187c89fdf788e0c70e65bb193a2155523238fee969042e140fd43a13 | 1
--  2026-10-25 01:44:33+00 |          108 |        16 |   1005061448378108103 | 0x1469572f7b3bb43fc56963e170a39920a1347ee8cb2736311f536ab6dc89d767 | 1
-- (376 rows)
