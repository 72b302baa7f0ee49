-- $1 an event table, $2 a part, under the exclusive lock. How many rows were mended.
SELECT event_mend($1, $2::bigint)
