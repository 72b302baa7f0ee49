-- $1 streams, $2 block numbers, $3 block hashes, $4 and $5 entry ids (ms, seq), one of each an event
SELECT event_guard($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
