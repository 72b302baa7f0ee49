-- $1 how long, in milliseconds, this transaction waits for a lock from here on
SELECT set_config('lock_timeout', $1, true)
