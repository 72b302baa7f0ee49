-- $1 table, then one array a column: transaction hashes, log indexes, block numbers, block hashes, streams, entry ids (ms, seq)
SELECT event_repeat($1, $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[])
