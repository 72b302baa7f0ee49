-- Rows of triple that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'triple', format('term_id=%s', VARIADIC keys), row_difference(expected, actual) FROM triple_difference($1::int)
