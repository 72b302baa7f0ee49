-- One program migrates a schema at a time. Who waits for it looks up every five seconds. Then a
-- change that cannot get its table within 0.3 seconds gives up and is tried again: while it waits, everybody else waits behind it. That is
-- below deadlock_timeout.
SELECT set_config('lock_timeout', '300ms', true)
FROM (
        SELECT pg_advisory_xact_lock(hashtext('migrations'), hashtext(current_schema()))
        FROM (SELECT set_config('lock_timeout', '5s', true) OFFSET 0) patience OFFSET 0
) locked
