-- What did reorgs take out of the tables, from block :block on?
\if :{?block} \else \set block 0 \endif
SELECT source_table, block_number, transaction_hash, log_index, reason, orphaned_at
FROM orphaned_events
WHERE block_number >= :block
ORDER BY block_number, log_index;
-- The recording answers:
--  source_table | block_number | transaction_hash | log_index | reason | orphaned_at
-- --------------+--------------+------------------+-----------+--------+-------------
-- (0 rows)
