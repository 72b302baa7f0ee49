SELECT version, checksum, name, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), additive FROM schema_migrations ORDER BY version
