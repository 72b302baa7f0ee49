SELECT version, checksum, additive FROM schema_migrations ORDER BY version
