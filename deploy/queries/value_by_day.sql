-- How much was in all vaults together at the end of each day (UTC)? It reads all prices
WITH last AS (
        SELECT DISTINCT ON (term_id, curve_id, day) term_id, curve_id, date_trunc('day', block_timestamp, 'UTC')::date AS day, total_assets
        FROM api.price
        WHERE block_timestamp IS NOT NULL
        ORDER BY term_id, curve_id, day, block_number DESC, log_index DESC
), moved AS (
        SELECT day, total_assets - lag(total_assets, 1, 0::numeric) OVER (PARTITION BY term_id, curve_id ORDER BY day) AS change FROM last
)
SELECT day, sum(sum(change)) OVER (ORDER BY day) AS total_assets, sum(change) AS change
FROM moved
GROUP BY day
ORDER BY day;
-- The recording answers:
--     day     |       total_assets        |          change
-- ------------+---------------------------+---------------------------
--  2026-10-22 |     632288230000435848219 |     632288230000435848219
--  2026-10-23 |  174513269817600579386852 |  173880981587600143538633
--  2026-10-24 |  649247042016801728634717 |  474733772199201149247865
--  2026-10-25 |  746953174270066077818701 |   97706132253264349183984
-- (14 rows)
