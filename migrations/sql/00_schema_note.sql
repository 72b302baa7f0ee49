-- $1 version, $2 name, $3 checksum, $4 additive
INSERT INTO schema_migrations (version, name, checksum, additive) VALUES ($1::bigint, $2, $3, $4::boolean)
