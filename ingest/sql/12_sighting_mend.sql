-- $1 0. The same, mended, under the exclusive lock. How many.
SELECT sighting_mend() WHERE $1::bigint = 0
