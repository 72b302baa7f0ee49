-- $1 stream, $2 and $3 entry id (ms, seq), $4 network, $5 fork block, $6 depth, $7 the notice
INSERT INTO reorgs (stream, stream_ms, stream_seq, network, fork_block, depth, notice)
VALUES ($1, $2::bigint, $3::bigint, $4, $5::bigint, $6::bigint, $7::jsonb)
ON CONFLICT (stream, stream_ms, stream_seq) DO NOTHING
