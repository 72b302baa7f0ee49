-- For verify and rebuild of the event tables, whose level below are the streams: ingest reads those again into two temporary tables,
-- audit_event (the events they hold; settled: its entry was acked before the tables were looked at) and audit_entry (the entries that were
-- read), and these functions compare. A row is right if it equals one of its sightings; nothing is said of rows whose entry is no longer there.
CREATE FUNCTION event_audit(name TEXT)
RETURNS TABLE (transaction_hash TEXT, log_index BIGINT, difference TEXT, verdict TEXT, expected JSONB) LANGUAGE plpgsql AS $$
BEGIN
        RETURN QUERY EXECUTE format($query$
                WITH sighting AS MATERIALIZED (
                        SELECT a.transaction_hash, a.log_index, a.event_row ->> 'block_hash' AS block_hash, a.settled, a.stream, a.stream_ms, a.stream_seq, a.place,
                                event_content(to_jsonb(jsonb_populate_record(NULL::%1$I, a.event_row))) AS content
                        FROM audit_event a WHERE a.source_table = %1$L
                ), stored AS MATERIALIZED (
                        SELECT t.transaction_hash, t.log_index, t.block_hash, t.stream, t.stream_ms, t.stream_seq,
                                event_content(to_jsonb(t)) AS content
                        FROM %1$I t
                        WHERE (t.stream, t.stream_ms, t.stream_seq) IN (SELECT e.stream, e.stream_ms, e.stream_seq FROM audit_entry e)
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
                        -- its own sighting first: another one stands in repeated_sightings, and a row that took it over would lose its own
                        ORDER BY (x.stream, x.stream_ms, x.stream_seq) = (o.stream, o.stream_ms, o.stream_seq) DESC,
                                x.block_hash = o.block_hash DESC, x.stream_ms, x.stream_seq LIMIT 1) a ON true
                UNION ALL
                SELECT a.transaction_hash, a.log_index, row_difference(a.content, NULL), 'missing',
                        a.content || jsonb_build_object('stream', a.stream, 'stream_ms', a.stream_ms, 'stream_seq', a.stream_seq, 'place', a.place)
                FROM sighting a
                WHERE a.settled
                        AND NOT EXISTS (SELECT FROM %1$I t WHERE t.transaction_hash = a.transaction_hash AND t.log_index = a.log_index
                                AND t.block_hash = a.block_hash)
                        AND NOT EXISTS (SELECT FROM orphaned_events o WHERE o.source_table = %1$L AND o.transaction_hash = a.transaction_hash
                                AND o.log_index = a.log_index AND o.block_hash = a.block_hash)
        $query$, name);
END $$;

-- Mends what event_audit finds of one verdict, under the exclusive lock: one statement on the event table, so that its trigger takes locks in
-- the usual order. What is missing comes in the careful way, for it may be orphaned. Rows that no stream holds leave for orphaned_events.
CREATE FUNCTION event_mend(name TEXT, which TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
        columns TEXT := event_columns(name);
        mended BIGINT;
BEGIN
        CREATE TEMP TABLE IF NOT EXISTS audit_found (transaction_hash TEXT, log_index BIGINT, difference TEXT, verdict TEXT, expected JSONB);
        TRUNCATE audit_found;
        INSERT INTO audit_found SELECT * FROM event_audit(name) a WHERE a.verdict = which;
        GET DIAGNOSTICS mended = ROW_COUNT;
        IF mended = 0 THEN
                RETURN 0;
        END IF;
        IF which = 'wrong' THEN
                EXECUTE format('UPDATE %1$I t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$I, f.expected))
                        FROM audit_found f WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index)', name, columns);
        ELSIF which = 'missing' THEN
                PERFORM t.* FROM (
                        SELECT array_agg(name) AS tables, array_agg(f.transaction_hash) AS transactions, array_agg(f.log_index) AS indexes,
                                array_agg((f.expected ->> 'block_number')::bigint) AS blocks, array_agg(f.expected ->> 'block_hash') AS hashes,
                                array_agg(f.expected - 'place') AS event_rows, array_agg(f.expected ->> 'stream') AS streams,
                                array_agg((f.expected ->> 'stream_ms')::bigint) AS ms, array_agg((f.expected ->> 'stream_seq')::bigint) AS seq,
                                array_agg((f.expected ->> 'place')::bigint) AS places
                        FROM audit_found f
                ) a CROSS JOIN LATERAL event_take(a.tables, a.transactions, a.indexes, a.blocks, a.hashes, a.event_rows, a.streams, a.ms, a.seq, a.places) t;
        ELSE
                EXECUTE format('WITH gone AS (DELETE FROM %1$I t USING audit_found f
                                WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index) RETURNING t.*)
                        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                stream, stream_ms, stream_seq, reason)
                        SELECT %1$L, transaction_hash, log_index, block_hash, block_number, to_jsonb(gone), stream, stream_ms, stream_seq,
                                ''not in stream'' FROM gone ON CONFLICT DO NOTHING', name);
        END IF;
        RETURN mended;
END $$;
