-- What were the last hundred prices of a vault? :term, :curve
\if :{?term} \else \set term 0xae95576206ca5089340ab5301e4c2103d5f047276376d3019996529b6f39191b \endif
\if :{?curve} \else \set curve 1 \endif
SELECT block_number, log_index, block_timestamp, share_price, total_assets, total_shares
FROM api.price
WHERE term_id = :'term' AND curve_id = :'curve'
ORDER BY block_number DESC, log_index DESC
LIMIT 100;
-- The recording answers:
--  block_number | log_index |    block_timestamp     |      share_price      |       total_assets       |     total_shares
-- --------------+-----------+------------------------+-----------------------+--------------------------+-----------------------
--           475 |         3 | 2026-11-04 06:27:30+00 | 385107534384017590169 | 162741036297746220076440 | 422585957862527246477
--           458 |        40 | 2026-11-03 16:00:10+00 | 385107516380579807991 | 162741028689746220076440 | 422585957862527246477
--           455 |       118 | 2026-11-03 13:25:33+00 | 385107504958051650880 | 162741023862746217591722 | 422585957862527246477
--           455 |       102 | 2026-11-03 13:25:33+00 | 385107498625612178599 | 162741021186746217591707 | 422585957862527246477
-- (100 rows)
