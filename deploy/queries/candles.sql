-- Open, high, low and close of a vault's share price by hour, the last hundred hours with a change. :term, :curve
\if :{?term} \else \set term 0xae95576206ca5089340ab5301e4c2103d5f047276376d3019996529b6f39191b \endif
\if :{?curve} \else \set curve 1 \endif
SELECT date_trunc('hour', block_timestamp, 'UTC') AS hour, (array_agg(share_price ORDER BY block_number, log_index))[1] AS open,
        max(share_price) AS high, min(share_price) AS low, (array_agg(share_price ORDER BY block_number DESC, log_index DESC))[1] AS close,
        count(*) AS changes
FROM api.price
WHERE term_id = :'term' AND curve_id = :'curve'
GROUP BY 1
ORDER BY 1 DESC
LIMIT 100;
-- The recording answers:
--           hour          |         open          |         high          |          low          |         close         | changes
-- ------------------------+-----------------------+-----------------------+-----------------------+-----------------------+---------
--  2026-11-04 06:00:00+00 | 385107534384017590169 | 385107534384017590169 | 385107534384017590169 | 385107534384017590169 |       1
--  2026-11-03 16:00:00+00 | 385107516380579807991 | 385107516380579807991 | 385107516380579807991 | 385107516380579807991 |       1
--  2026-11-03 13:00:00+00 | 383876760197600268911 | 385107504958051650880 | 383876760197600268911 | 385107504958051650880 |      26
--  2026-11-03 12:00:00+00 | 381518118990622724255 | 615078802738948211414 | 381518118990622724255 | 383876758628717101690 |      32
-- (100 rows)
