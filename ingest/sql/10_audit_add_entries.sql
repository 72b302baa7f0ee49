-- $1 stream, $2 and $3 the ids (ms, seq) of entries that were read
INSERT INTO audit_entry SELECT $1, e.* FROM unnest($2::bigint[], $3::bigint[]) e
