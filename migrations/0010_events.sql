-- Level 0: the event tables, the audit log of what the streams delivered.
-- One row per (transaction, log index). stream, stream_ms and stream_seq say where the row came from (the Redis entry id is ms-seq):
-- liveness under reorgs is decided by stream positions. All ids are COLLATE "C": locks are taken in byte order, whatever the database's locale.

-- What all of them have. Their own columns follow in the order of ingest/decode/event.c, and created_at, which no batch brings.
CREATE TABLE event_common (
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        transaction_index BIGINT NOT NULL,
        block_timestamp TIMESTAMPTZ,
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (transaction_hash, log_index)
);

CREATE TABLE atom_created_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        creator TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        atom_data TEXT,
        raw_data BYTEA,
        atom_wallet TEXT COLLATE "C" NOT NULL
);

CREATE TABLE triple_created_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        creator TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        subject_id TEXT COLLATE "C" NOT NULL,
        predicate_id TEXT COLLATE "C" NOT NULL,
        object_id TEXT COLLATE "C" NOT NULL,
        counter_term_id TEXT COLLATE "C" NOT NULL
);

CREATE TABLE deposited_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        sender TEXT COLLATE "C" NOT NULL,
        receiver TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        assets TEXT COLLATE "C" NOT NULL,
        assets_after_fees TEXT COLLATE "C" NOT NULL,
        shares TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL
);

CREATE TABLE redeemed_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        sender TEXT COLLATE "C" NOT NULL,
        receiver TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        shares TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        assets TEXT COLLATE "C" NOT NULL,
        fees TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL
);

CREATE TABLE share_price_changed_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        share_price TEXT COLLATE "C" NOT NULL,
        total_assets TEXT COLLATE "C" NOT NULL,
        total_shares TEXT COLLATE "C" NOT NULL,
        vault_type SMALLINT NOT NULL
);

CREATE TABLE generic_events (
        LIKE event_common INCLUDING DEFAULTS INCLUDING INDEXES,
        event_name TEXT COLLATE "C" NOT NULL,
        event_data JSONB NOT NULL
);

DROP TABLE event_common;

-- What users ask by. Event rows arrive nearly in block order: the B-trees on block_number grow at their right edge (newest first: ORDER BY
-- block_number), and for spans of time BRIN does, at a twentieth of a B-tree's cost. Its pages count once they are summarised, which is
-- autovacuum's work, often enough to leave some ten thousand rows to be looked through.
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

CREATE FUNCTION event_tables() RETURNS TEXT[] LANGUAGE sql IMMUTABLE AS $$
        SELECT ARRAY['atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events', 'share_price_changed_events', 'generic_events']
$$;

DO $$
DECLARE
        name TEXT;
BEGIN
        FOREACH name IN ARRAY event_tables() LOOP
                EXECUTE format('ALTER TABLE %I ADD created_at TIMESTAMPTZ NOT NULL DEFAULT now()', name);
                EXECUTE format('ALTER TABLE %I SET (autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0)', name);
        END LOOP;
END $$;

-- Rows that left the event tables: the audit log loses nothing. event_row is the whole row; a row may leave and come back.
CREATE TABLE orphaned_events (
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
        orphaned_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        PRIMARY KEY (source_table, transaction_hash, log_index, block_hash)
);
CREATE INDEX ON orphaned_events (block_number);

-- The one network whose events are stored: that of NETWORK, or of the first event.
CREATE TABLE pinned_network (
        only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
        network TEXT COLLATE "C" NOT NULL
);

-- For statements on whole event rows: a table's columns as they are now, without the time when the row was stored, for what others add is theirs; and
-- what a row says, without where it came from.
DO $make$
BEGIN
        EXECUTE format('CREATE FUNCTION event_columns(name TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$ SELECT CASE name %s END $$',
                (SELECT string_agg(format('WHEN %L THEN %L', name, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                                FROM pg_attribute a WHERE a.attrelid = to_regclass(name) AND a.attnum > 0 AND a.attname <> 'created_at')), ' ')
                FROM unnest(event_tables()) name));
END $make$;
CREATE FUNCTION event_others(name TEXT) RETURNS TEXT[] LANGUAGE sql STABLE AS $$ -- the columns that say nothing of the event
        SELECT ARRAY['stream', 'stream_ms', 'stream_seq'] || array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = to_regclass(name) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (string_to_array(event_columns(name), ', '))
$$;
-- What a user has added, but for what is generated: the names, and for a row that comes back (event_row, and r as the table has it) the values.
CREATE FUNCTION event_added(name TEXT, OUT columns TEXT, OUT selected TEXT) LANGUAGE sql STABLE AS $$
        SELECT coalesce(string_agg(format(', %I', a.attname), ''), ''), coalesce(string_agg(format(', CASE WHEN event_row ? %L THEN r.%I ELSE %s END',
                a.attname, a.attname, coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL')), ''), '')
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = to_regclass(name) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
                AND a.attname <> 'created_at' AND a.attname <> ALL (string_to_array(event_columns(name), ', '))
$$;
CREATE FUNCTION event_content(event_row JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE AS $$
        SELECT event_row - ARRAY['created_at', 'stream', 'stream_ms', 'stream_seq']
$$;

-- For verify: what is different between a row as it should be and as it is, column by column, for people.
CREATE FUNCTION row_difference(expected JSONB, actual JSONB) RETURNS TEXT LANGUAGE sql STABLE AS $$
        SELECT CASE
                WHEN actual IS NULL THEN 'the row is missing, it should be ' || expected::text
                WHEN expected IS NULL THEN 'the row should not be there: ' || actual::text
                ELSE (SELECT string_agg(format('%s is %s, should be %s', e.key, actual -> e.key, e.value), '; ' ORDER BY e.key)
                        FROM jsonb_each(expected) e WHERE e.value IS DISTINCT FROM actual -> e.key)
        END
$$;

-- For verify and rebuild: the rows of a table that are not as its definition has them, a view with the same columns, in one key of so many (1: all).
-- Left out are keys that the view `waiting` names, in the columns that it shares with the table's key: work for them is under way.
CREATE FUNCTION table_difference(name TEXT, definition TEXT, waiting TEXT, every INT)
RETURNS TABLE (keys TEXT[], key TEXT, expected JSONB, actual JSONB) LANGUAGE plpgsql STABLE AS $$
DECLARE
        named CONSTANT TEXT[] := ARRAY(SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                WHERE i.indrelid = name::regclass AND i.indisprimary ORDER BY a.attnum);
        waited CONSTANT TEXT := (SELECT string_agg(a.attname, ', ') FROM pg_attribute a WHERE a.attrelid = to_regclass(waiting) AND a.attname = ANY (named));
BEGIN
        RETURN QUERY EXECUTE format('SELECT d.keys, format(%L, VARIADIC d.keys), d.expected, d.actual
                FROM (SELECT ARRAY[%2$s] AS keys, to_jsonb(e) AS expected, to_jsonb(a) AS actual
                        FROM (SELECT %3$s FROM %4$I WHERE hashtext(concat(%2$s)) %% %6$s = 0) e
                        FULL JOIN (SELECT %3$s FROM %5$I WHERE hashtext(concat(%2$s)) %% %6$s = 0) a USING (%2$s)
                        WHERE e IS DISTINCT FROM a AND %7$s) d',
                array_to_string(named, '=%s ') || '=%s', array_to_string(named, ', '),
                (SELECT string_agg(a.attname, ', ') FROM pg_attribute a WHERE a.attrelid = definition::regclass AND a.attnum > 0),
                definition, name, every,
                CASE WHEN waiting IS NULL THEN 'true' ELSE format('(%1$s) NOT IN (SELECT %1$s FROM %2$I WHERE (%1$s) IS NOT NULL)', waited, waiting) END);
END $$;

-- A whole event row as JSON: what its type has of its own, and what all have.
CREATE FUNCTION event_row(own JSONB, transaction_hash TEXT, log_index BIGINT, address TEXT, block_hash TEXT, block_number BIGINT, network TEXT,
        transaction_index BIGINT, block_timestamp TIMESTAMPTZ) RETURNS JSONB LANGUAGE sql STABLE AS $$
        SELECT own || jsonb_build_object('transaction_hash', transaction_hash, 'log_index', log_index, 'address', address,
                'block_hash', block_hash, 'block_number', block_number, 'network', network, 'transaction_index', transaction_index,
                'block_timestamp', block_timestamp)
$$;
