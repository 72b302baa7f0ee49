-- $1 a pair table, $2 and $3 its key. One a transaction: whoever makes triples anew locks both, in an order of the planner's.
SELECT pair_rebuild($1, $2, $3)
