-- $1 version, $2 name, $3 checksum
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1::bigint, $2, $3)
