-- For gauges: how long the oldest row of the outbox has waited, in seconds; how many rows wait, counted up to 100,000
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::bigint,
        (SELECT count(*) FROM (SELECT FROM term_outbox LIMIT 100000) o)
FROM term_outbox
