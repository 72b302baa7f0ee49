-- Level 0: the event tables, the audit log of what the streams delivered.
-- One row per (transaction, log index). stream, stream_ms and stream_seq say where the row came from (the Redis entry id is ms-seq):
-- liveness under reorgs is decided by stream positions. All ids are COLLATE "C": locks are taken in byte order, whatever the database's locale.

CREATE TABLE atom_created_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        creator TEXT COLLATE "C" NOT NULL,
        atom_wallet TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        atom_data TEXT,
        raw_data BYTEA,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE triple_created_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        creator TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        subject_id TEXT COLLATE "C" NOT NULL,
        predicate_id TEXT COLLATE "C" NOT NULL,
        object_id TEXT COLLATE "C" NOT NULL,
        counter_term_id TEXT COLLATE "C" NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE deposited_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        sender TEXT COLLATE "C" NOT NULL,
        receiver TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        assets TEXT COLLATE "C" NOT NULL,
        assets_after_fees TEXT COLLATE "C" NOT NULL,
        shares TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE redeemed_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        sender TEXT COLLATE "C" NOT NULL,
        receiver TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        assets TEXT COLLATE "C" NOT NULL,
        fees TEXT COLLATE "C" NOT NULL,
        shares TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE share_price_changed_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        share_price TEXT COLLATE "C" NOT NULL,
        total_assets TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE generic_events (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        event_name TEXT COLLATE "C" NOT NULL,
        event_data JSONB NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

-- What users ask by. Event rows arrive nearly in block order: the right edge of a B-tree on block_number is cheap, and a BRIN does for time.
CREATE INDEX ON atom_created_events (term_id);
CREATE INDEX ON atom_created_events (creator);
CREATE INDEX ON atom_created_events (block_number);
CREATE INDEX ON atom_created_events USING brin (block_timestamp);
CREATE INDEX ON triple_created_events (term_id);
CREATE INDEX ON triple_created_events (counter_term_id);
CREATE INDEX ON triple_created_events (creator);
CREATE INDEX ON triple_created_events (subject_id);
CREATE INDEX ON triple_created_events (predicate_id);
CREATE INDEX ON triple_created_events (object_id);
CREATE INDEX ON triple_created_events (block_number);
CREATE INDEX ON triple_created_events USING brin (block_timestamp);
CREATE INDEX ON deposited_events (term_id);
CREATE INDEX ON deposited_events (receiver, term_id);
CREATE INDEX ON deposited_events (sender);
CREATE INDEX ON deposited_events (block_number);
CREATE INDEX ON deposited_events USING brin (block_timestamp);
CREATE INDEX ON redeemed_events (term_id);
CREATE INDEX ON redeemed_events (receiver, term_id);
CREATE INDEX ON redeemed_events (sender);
CREATE INDEX ON redeemed_events (block_number);
CREATE INDEX ON redeemed_events USING brin (block_timestamp);
CREATE INDEX ON share_price_changed_events (term_id);
CREATE INDEX ON share_price_changed_events (block_number);
CREATE INDEX ON share_price_changed_events USING brin (block_timestamp);
-- hash: a name may be longer than a B-tree entry
CREATE INDEX ON generic_events USING hash (event_name);
CREATE INDEX ON generic_events (block_number);
CREATE INDEX ON generic_events USING brin (block_timestamp);

-- Reorg notices as they came, one row per notice and stream position.
CREATE TABLE reorgs (
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        fork_block BIGINT NOT NULL,
        depth BIGINT NOT NULL,
        notice JSONB NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        PRIMARY KEY (stream, stream_ms, stream_seq)
);

-- Rows that left the event tables: the audit log loses nothing. event_row is the whole row; a row may leave and come back.
CREATE TABLE orphaned_events (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source_table TEXT COLLATE "C" NOT NULL,
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        event_row JSONB NOT NULL,
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        reason TEXT COLLATE "C" NOT NULL,
        notice JSONB,
        orphaned_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX ON orphaned_events (transaction_hash, log_index);
CREATE INDEX ON orphaned_events (block_number);

-- The one network whose events are stored: that of NETWORK, or of the first event.
CREATE TABLE pinned_network (
        only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
        network TEXT COLLATE "C" NOT NULL
);

-- For verify: what is different between a row as it should be and as it is, column by column, for people.
CREATE FUNCTION row_difference(expected JSONB, actual JSONB) RETURNS TEXT LANGUAGE sql STABLE AS $$
        SELECT CASE
                WHEN actual IS NULL THEN 'the row is missing, it should be ' || expected::text
                WHEN expected IS NULL THEN 'the row should not be there: ' || actual::text
                ELSE (SELECT string_agg(format('%s is %s, should be %s', e.key, actual -> e.key, e.value), '; ' ORDER BY e.key)
                        FROM jsonb_each(expected) e WHERE e.value IS DISTINCT FROM actual -> e.key)
        END
$$;

-- For verify and rebuild of the event tables, whose level below are the streams: ingest reads those again into two temporary tables,
-- audit_event (what the streams hold; settled: its entry was acked before the tables were looked at) and audit_range (which part of which
-- stream was read), and these functions compare. A row is right if it equals one of its sightings; where a stream was trimmed nothing is said.
CREATE FUNCTION event_audit(name TEXT)
RETURNS TABLE (transaction_hash TEXT, log_index BIGINT, difference TEXT, verdict TEXT, expected JSONB) LANGUAGE plpgsql AS $$
BEGIN
        RETURN QUERY EXECUTE format($query$
                WITH sighting AS MATERIALIZED (
                        SELECT a.transaction_hash, a.log_index, a.settled, a.stream, a.stream_ms, a.stream_seq,
                                to_jsonb(jsonb_populate_record(NULL::%1$I, a.event_row)) - ARRAY['created_at', 'stream', 'stream_ms', 'stream_seq'] AS content
                        FROM audit_event a WHERE a.source_table = %1$L
                ), stored AS MATERIALIZED (
                        SELECT t.transaction_hash, t.log_index, to_jsonb(t) - ARRAY['created_at', 'stream', 'stream_ms', 'stream_seq'] AS content
                        FROM %1$I t JOIN audit_range r ON r.stream = t.stream
                                AND (t.stream_ms, t.stream_seq) BETWEEN (r.first_ms, r.first_seq) AND (r.last_ms, r.last_seq)
                ), odd AS MATERIALIZED (
                        SELECT s.* FROM stored s
                        WHERE NOT EXISTS (SELECT FROM sighting a
                                WHERE a.transaction_hash = s.transaction_hash AND a.log_index = s.log_index AND a.content = s.content)
                )
                SELECT o.transaction_hash, o.log_index, row_difference(a.content, o.content),
                        CASE WHEN a.content IS NULL THEN 'extra' ELSE 'wrong' END, a.whole
                FROM odd o LEFT JOIN LATERAL (
                        SELECT x.content, x.content || jsonb_build_object('stream', x.stream, 'stream_ms', x.stream_ms, 'stream_seq', x.stream_seq) AS whole
                        FROM sighting x WHERE x.transaction_hash = o.transaction_hash AND x.log_index = o.log_index
                        ORDER BY x.stream_ms, x.stream_seq LIMIT 1) a ON true
                UNION ALL
                SELECT DISTINCT ON (a.transaction_hash, a.log_index) a.transaction_hash, a.log_index, row_difference(a.content, NULL), 'missing',
                        a.content || jsonb_build_object('stream', a.stream, 'stream_ms', a.stream_ms, 'stream_seq', a.stream_seq)
                FROM sighting a
                WHERE a.settled
                        AND NOT EXISTS (SELECT FROM %1$I t WHERE t.transaction_hash = a.transaction_hash AND t.log_index = a.log_index)
                        AND NOT EXISTS (SELECT FROM orphaned_events o WHERE o.source_table = %1$L
                                AND o.transaction_hash = a.transaction_hash AND o.log_index = a.log_index)
        $query$, name);
END $$;

-- Mends what event_audit finds of one verdict: one statement on the event table, so that its trigger takes locks in the usual order.
-- Rows that no stream holds leave for orphaned_events.
CREATE FUNCTION event_mend(name TEXT, which TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
        columns TEXT;
        mended BIGINT;
BEGIN
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
        WHERE attrelid = to_regclass(name) AND attnum > 0 AND NOT attisdropped AND attname <> 'created_at';
        CREATE TEMP TABLE IF NOT EXISTS audit_found (transaction_hash TEXT, log_index BIGINT, difference TEXT, verdict TEXT, expected JSONB);
        TRUNCATE audit_found;
        INSERT INTO audit_found SELECT * FROM event_audit(name) a WHERE a.verdict = which;
        IF which = 'wrong' THEN
                EXECUTE format('UPDATE %1$I t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$I, f.expected))
                        FROM audit_found f WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index)', name, columns);
        ELSIF which = 'missing' THEN
                EXECUTE format('INSERT INTO %1$I (%2$s) SELECT %3$s FROM audit_found f CROSS JOIN LATERAL jsonb_populate_record(NULL::%1$I, f.expected) r
                        ORDER BY f.transaction_hash, f.log_index ON CONFLICT (transaction_hash, log_index) DO NOTHING',
                        name, columns, regexp_replace(columns, '(^|, )', '\1r.', 'g'));
        ELSE
                EXECUTE format('WITH gone AS (DELETE FROM %1$I t USING audit_found f
                                WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index) RETURNING t.*)
                        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                stream, stream_ms, stream_seq, reason)
                        SELECT %1$L, transaction_hash, log_index, block_hash, block_number, to_jsonb(gone), stream, stream_ms, stream_seq,
                                ''not in stream'' FROM gone', name);
        END IF;
        GET DIAGNOSTICS mended = ROW_COUNT;
        RETURN mended;
END $$;
