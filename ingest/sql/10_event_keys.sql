-- $1 block numbers, $2 block hashes: the keys of all events that are known of them, as event_take returns them
SELECT * FROM event_keys($1::bigint[], $2::text[])
