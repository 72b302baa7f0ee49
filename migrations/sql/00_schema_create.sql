CREATE TABLE IF NOT EXISTS schema_migrations (
        version BIGINT PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        additive BOOLEAN NOT NULL, -- programs that do not know it go on working
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
