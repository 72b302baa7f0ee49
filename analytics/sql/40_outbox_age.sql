-- For a gauge: how long the oldest row of the outbox has waited, in seconds
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::bigint FROM term_outbox
