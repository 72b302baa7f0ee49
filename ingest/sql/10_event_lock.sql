-- $1 exclusively, or shared with other inserts
SELECT event_lock($1::boolean)
