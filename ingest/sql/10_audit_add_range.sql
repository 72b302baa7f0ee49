-- $1 stream, $2 and $3 the first id read (ms, seq), $4 and $5 the last
INSERT INTO audit_range VALUES ($1, $2::bigint, $3::bigint, $4::bigint, $5::bigint)
