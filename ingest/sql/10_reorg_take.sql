-- $1 stream, $2 and $3 entry id (ms, seq), $4 network, $5 fork block, $6 depth, $7 the notice, $8 copy window in ms, $9 it was delivered before. Under the exclusive lock.
SELECT * FROM reorg_take($1, $2::bigint, $3::bigint, $4, $5::bigint, $6::bigint, $7::jsonb, $8::bigint, $9::boolean)
