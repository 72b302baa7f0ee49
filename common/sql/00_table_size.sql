-- $1 table: about how many rows it has
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass($1)
