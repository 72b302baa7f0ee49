-- Shared with other inserts, to the end of the transaction
SELECT event_lock(false)
