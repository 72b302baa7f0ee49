-- Rows of vault that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'vault', format('term_id=%s curve_id=%s', VARIADIC keys), row_difference(expected, actual) FROM vault_difference($1::int)
