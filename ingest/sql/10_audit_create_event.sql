CREATE TEMP TABLE IF NOT EXISTS audit_event (
        source_table TEXT COLLATE "C", transaction_hash TEXT COLLATE "C", log_index BIGINT, event_row JSONB, settled BOOLEAN,
        stream TEXT COLLATE "C", stream_ms BIGINT, stream_seq BIGINT, place BIGINT
)
