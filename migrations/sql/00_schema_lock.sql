-- One program migrates at a time; the key is arbitrary but fixed ("rindexer" in ASCII). Then a change that cannot get its table within two
-- seconds gives up and is tried again: while it waits, everybody else waits behind it.
SELECT set_config('lock_timeout', '2s', true) FROM (SELECT pg_advisory_xact_lock(x'72696e6465786572'::bigint) OFFSET 0) locked
