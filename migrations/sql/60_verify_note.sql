-- $1 program, $2 differences, $3 keys in flight, $4 sample, '0' for all
INSERT INTO verify_result (program, finished_at, differences, in_flight, sample)
VALUES ($1, now(), $2::bigint, $3::bigint, nullif($4::bigint, 0))
ON CONFLICT (program) DO UPDATE SET finished_at = excluded.finished_at, differences = excluded.differences, in_flight = excluded.in_flight,
        sample = excluded.sample
