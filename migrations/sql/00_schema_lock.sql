-- One program migrates at a time; the key is arbitrary but fixed ("rindexer" in ASCII).
SELECT pg_advisory_xact_lock(x'72696e6465786572'::bigint)
