-- $1 block numbers, $2 block hashes: the keys of what may have moved with them, as event_take returns them
SELECT * FROM event_keys($1::bigint[], $2::text[], true)
