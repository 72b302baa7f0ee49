-- Rows of position that differ from their definition. $1: look at one key in so many (1: all). Base rows change in their events'
-- own transaction: in any one snapshot they are exact.
SELECT 'position', format('account_id=%s term_id=%s curve_id=%s', VARIADIC keys), row_difference(expected, actual) FROM position_difference($1::int)
