CREATE TEMP TABLE IF NOT EXISTS audit_entry (stream TEXT COLLATE "C", stream_ms BIGINT, stream_seq BIGINT)
