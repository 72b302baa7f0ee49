-- $1 an event table. In how many parts the rows that differ are mended.
SELECT event_find($1)
