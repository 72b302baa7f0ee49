-- $1 a base table, $2 a part of its rows that differ. How many were made anew.
SELECT base_make($1, $2::bigint)
