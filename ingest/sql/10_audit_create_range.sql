CREATE TEMP TABLE IF NOT EXISTS audit_range (
        stream TEXT COLLATE "C", first_ms BIGINT, first_seq BIGINT, last_ms BIGINT, last_seq BIGINT
)
