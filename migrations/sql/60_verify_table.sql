-- $1 table, $2 its definition, $3 what is under way or NULL, $4 one key in so many (1: all). Key and difference of each row that differs.
SELECT key, row_difference(expected, actual) FROM table_difference($1, $2, $3, $4::int)
