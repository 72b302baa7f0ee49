-- $1 table, $2 its definition, $3 what is under way or NULL, $4 how many keys to look at, about (0: all; by the planner's idea of how many there are). Key and
-- difference of each row that differs.
SELECT key, row_difference(expected, actual)
FROM table_difference($1, $2, $3, greatest(1, (SELECT reltuples::bigint / nullif($4::bigint, 0) FROM pg_class WHERE oid = to_regclass($1)))::int)
