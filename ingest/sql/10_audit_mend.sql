-- $1 an event table, $2 a verdict of event_audit. How many rows were mended.
SELECT event_mend($1, $2)
