-- $1 a base table. In how many parts its rows that differ from their definition are made anew.
SELECT base_find($1)
