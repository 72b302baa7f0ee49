-- For verify and rebuild of the event tables, whose level below are the streams: ingest copies those into temporary tables, audit_X as each event
-- table X (settled: its entry was acked before the tables were looked at; place: in its entry, where that has the event in several blocks),
-- audit_notice (reorg notices) and audit_entry (all entries that were read), and these functions compare. A row is right if it equals one of its
-- sightings. Nothing is said of rows whose entry is no longer there.
CREATE FUNCTION audit_begin(window_ms BIGINT) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
        name TEXT;
        all_of_them TEXT := '';
BEGIN
        FOREACH name IN ARRAY event_tables() LOOP
                EXECUTE format('CREATE TEMP TABLE %I AS SELECT %s, true AS settled, 0::bigint AS place FROM %I WITH NO DATA',
                        'audit_' || name, event_columns(name), name);
                all_of_them := all_of_them || format('UNION ALL SELECT %L, transaction_hash, log_index, block_hash, stream, stream_ms, stream_seq FROM %I ',
                        name, 'audit_' || name);
        END LOOP;
        EXECUTE format('CREATE TEMP VIEW audit_sighting (source_table, transaction_hash, log_index, block_hash, stream, stream_ms, stream_seq) AS %s',
                substr(all_of_them, length('UNION ALL ')));
        CREATE TEMP TABLE audit_entry (stream TEXT COLLATE "C", stream_ms BIGINT, stream_seq BIGINT);
        CREATE TEMP TABLE audit_notice (stream TEXT COLLATE "C", stream_ms BIGINT, stream_seq BIGINT, network TEXT COLLATE "C", fork_block BIGINT,
                depth BIGINT, notice JSONB, settled BOOLEAN);
        CREATE TEMP TABLE audit_found (part BIGINT, transaction_hash TEXT COLLATE "C", log_index BIGINT);
        CREATE TEMP TABLE audit_block (part BIGINT, block_number BIGINT, block_hash TEXT COLLATE "C");
        CREATE TEMP TABLE audit_setting AS SELECT window_ms;
END $$;

-- What is not as the streams have it: extra (no stream holds the event), wrong (it has another content), missing (a version of it, or one of its
-- sightings). A row that reconciling brought after it was lost has no sighting in a stream, and stands by the chain's verdict. part: only the keys
-- of that part of audit_found.
CREATE FUNCTION event_audit(name TEXT, part BIGINT)
RETURNS TABLE (transaction_hash TEXT, log_index BIGINT, verdict TEXT, expected JSONB, actual JSONB, place BIGINT) LANGUAGE plpgsql AS $$
BEGIN
        RETURN QUERY EXECUTE format($query$
                WITH odd AS MATERIALIZED (
                        SELECT t.transaction_hash, t.log_index, t.block_hash, t.stream, t.stream_ms, t.stream_seq, to_jsonb(t) AS actual
                        FROM %1$I t
                        WHERE (t.stream, t.stream_ms, t.stream_seq) IN (SELECT e.stream, e.stream_ms, e.stream_seq FROM audit_entry e)
                                AND NOT EXISTS (SELECT FROM %2$I a WHERE a.transaction_hash = t.transaction_hash AND a.log_index = t.log_index AND %3$s)
                                %4$s
                )
                SELECT o.transaction_hash, o.log_index, CASE WHEN a.expected IS NULL THEN 'extra' ELSE 'wrong' END, a.expected, o.actual, a.place
                FROM odd o LEFT JOIN LATERAL (
                        SELECT to_jsonb(x) - ARRAY['settled', 'place'] AS expected, x.place
                        FROM %2$I x WHERE x.transaction_hash = o.transaction_hash AND x.log_index = o.log_index
                        -- its own sighting first: another one stands in repeated_sightings, and a row that took it over would lose its own
                        ORDER BY (x.stream, x.stream_ms, x.stream_seq) = (o.stream, o.stream_ms, o.stream_seq) DESC,
                                x.block_hash = o.block_hash DESC, x.stream_ms, x.stream_seq LIMIT 1) a ON true
                UNION ALL
                SELECT t.transaction_hash, t.log_index, 'missing', to_jsonb(t) - ARRAY['settled', 'place'], NULL, t.place
                FROM %2$I t
                WHERE t.settled
                        AND NOT EXISTS (SELECT FROM %1$I s WHERE s.transaction_hash = t.transaction_hash AND s.log_index = t.log_index
                                AND s.block_hash = t.block_hash AND (s.stream = 'chain' OR t.place IS NULL
                                AND s.stream = t.stream AND s.stream_ms = t.stream_ms AND s.stream_seq = t.stream_seq))
                        AND NOT EXISTS (SELECT FROM orphaned_events s WHERE s.source_table = %1$L AND s.transaction_hash = t.transaction_hash
                                AND s.log_index = t.log_index AND s.block_hash = t.block_hash AND s.reason <> 'not in stream' AND (s.stream = 'chain'
                                OR t.place IS NULL AND s.stream = t.stream AND s.stream_ms = t.stream_ms AND s.stream_seq = t.stream_seq))
                        AND NOT EXISTS (SELECT FROM repeated_sightings s WHERE s.source_table = %1$L AND s.transaction_hash = t.transaction_hash
                                AND s.log_index = t.log_index AND s.block_hash = t.block_hash AND s.stream = t.stream AND s.stream_ms = t.stream_ms
                                AND s.stream_seq = t.stream_seq AND s.place IS NOT DISTINCT FROM t.place)
                        %4$s
        $query$, name, 'audit_' || name,
                (SELECT string_agg(format('t.%1$I IS NOT DISTINCT FROM a.%1$I', c), ' AND ') FROM unnest(string_to_array(event_columns(name), ', ')) c
                        WHERE c NOT IN ('stream', 'stream_ms', 'stream_seq')),
                'AND (t.transaction_hash, t.log_index) IN (SELECT f.transaction_hash, f.log_index FROM audit_found f WHERE f.part = ' || part || ')');
END $$;

-- rebuild, in two steps, so that ingest stands still for the second one of a part only: the keys of what differs, found without the lock; then,
-- under the exclusive lock, what of a part still differs is mended, one verdict a transaction: one statement on the event table, whose trigger takes
-- locks in the usual order. What is missing comes in the careful way, for it may be orphaned. Rows that no stream holds leave for orphaned_events.
CREATE FUNCTION event_find(name TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
        TRUNCATE audit_found;
        INSERT INTO audit_found
        SELECT row_number() OVER (ORDER BY k.transaction_hash, k.log_index) / 500, k.transaction_hash, k.log_index
        FROM (SELECT DISTINCT a.transaction_hash, a.log_index FROM event_audit(name, NULL) a) k;
        IF FOUND THEN
                EXECUTE format('CREATE INDEX ON %I (transaction_hash, log_index)', 'audit_' || name);
                ANALYZE audit_found;
        END IF;
        RETURN (SELECT 3 * coalesce(max(f.part) + 1, 0) FROM audit_found f);
END $$;

CREATE FUNCTION event_mend(name TEXT, part BIGINT) RETURNS BIGINT LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
        columns CONSTANT TEXT := event_columns(name);
        which CONSTANT TEXT := (ARRAY['wrong', 'extra', 'missing'])[part % 3 + 1];
        mended BIGINT;
BEGIN
        CREATE TEMP TABLE audit_now ON COMMIT DROP AS SELECT * FROM event_audit(name, part / 3) a WHERE a.verdict = which;
        GET DIAGNOSTICS mended = ROW_COUNT;
        IF which = 'wrong' THEN
                EXECUTE format('UPDATE %1$I t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$I, f.expected))
                        FROM audit_now f WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index)', name, columns);
        ELSIF which = 'extra' THEN
                EXECUTE format('WITH gone AS (DELETE FROM %1$I t USING audit_now f
                                WHERE (t.transaction_hash, t.log_index) = (f.transaction_hash, f.log_index) RETURNING t.*)
                        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                stream, stream_ms, stream_seq, reason)
                        SELECT %1$L, transaction_hash, log_index, block_hash, block_number, to_jsonb(gone), stream, stream_ms, stream_seq,
                                ''not in stream'' FROM gone ON CONFLICT DO NOTHING', name);
        ELSE
                PERFORM t.* FROM (
                        SELECT array_agg(name) AS tables, array_agg(f.transaction_hash) AS transactions, array_agg(f.log_index) AS indexes,
                                array_agg((f.expected ->> 'block_number')::bigint) AS blocks, array_agg(f.expected ->> 'block_hash') AS hashes,
                                array_agg(f.expected) AS event_rows, array_agg(f.expected ->> 'stream') AS streams,
                                array_agg((f.expected ->> 'stream_ms')::bigint) AS ms, array_agg((f.expected ->> 'stream_seq')::bigint) AS seq,
                                array_agg(f.place) AS places
                        FROM audit_now f HAVING count(*) > 0
                ) a CROSS JOIN LATERAL event_take(a.tables, a.transactions, a.indexes, a.blocks, a.hashes, a.event_rows, a.streams, a.ms, a.seq, a.places) t;
        END IF;
        RETURN mended;
END $$;

-- Notices, which of them count, and repeated sightings, against the streams as far as they hold them. There are few. verdict as above; place: where
-- the row is that the streams do not show, or the one in audit_notice.
CREATE FUNCTION sighting_audit() RETURNS TABLE (name TEXT, key TEXT, verdict TEXT, difference TEXT, place TID) LANGUAGE plpgsql AS $$
BEGIN
        RETURN QUERY
        SELECT 'reorgs', format('stream=%s id=%s-%s', a.stream, a.stream_ms, a.stream_seq), 'missing', 'the notice is missing', a.ctid
        FROM audit_notice a
        WHERE a.settled AND NOT EXISTS (SELECT FROM reorgs r WHERE (r.stream, r.stream_ms, r.stream_seq, r.network, r.fork_block, r.depth)
                = (a.stream, a.stream_ms, a.stream_seq, a.network, a.fork_block, a.depth))
        UNION ALL
        SELECT 'reorgs', format('stream=%s id=%s-%s', r.stream, r.stream_ms, r.stream_seq), 'extra', 'no stream holds the notice', r.ctid
        FROM reorgs r
        WHERE (r.stream, r.stream_ms, r.stream_seq) IN (SELECT e.stream, e.stream_ms, e.stream_seq FROM audit_entry e)
                AND NOT EXISTS (SELECT FROM audit_notice a WHERE (r.stream, r.stream_ms, r.stream_seq, r.network, r.fork_block, r.depth)
                        = (a.stream, a.stream_ms, a.stream_seq, a.network, a.fork_block, a.depth))
        UNION ALL
        SELECT 'reorgs', format('stream=%s id=%s-%s', k.stream, l.stream_ms, l.stream_seq), 'wrong',
                CASE WHEN l.leads THEN 'the notice does not count, and should' ELSE 'the notice counts, and is a copy' END, NULL
        FROM audit_setting s, (SELECT DISTINCT r.stream, r.network, r.fork_block, r.depth FROM reorgs r) k
        CROSS JOIN LATERAL reorg_leads(k.stream, k.network, k.fork_block, k.depth, s.window_ms) l
        WHERE l.leads <> l.counts
        UNION ALL
        SELECT 'repeated_sightings', format('transaction_hash=%s log_index=%s block_hash=%s stream=%s id=%s-%s', s.transaction_hash, s.log_index,
                s.block_hash, s.stream, s.stream_ms, s.stream_seq), 'extra', 'no stream holds the event there', s.ctid
        FROM repeated_sightings s
        WHERE (s.stream, s.stream_ms, s.stream_seq) IN (SELECT e.stream, e.stream_ms, e.stream_seq FROM audit_entry e)
                AND NOT EXISTS (SELECT FROM audit_sighting a
                        WHERE (a.source_table, a.transaction_hash, a.log_index, a.block_hash, a.stream, a.stream_ms, a.stream_seq)
                        = (s.source_table, s.transaction_hash, s.log_index, s.block_hash, s.stream, s.stream_ms, s.stream_seq));
END $$;

-- Under the exclusive lock. What changes thereby for events is found by event_misplaced.
CREATE FUNCTION sighting_mend() RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
        mended BIGINT;
BEGIN
        CREATE TEMP TABLE audit_now ON COMMIT DROP AS SELECT * FROM sighting_audit();
        GET DIAGNOSTICS mended = ROW_COUNT;
        DELETE FROM reorgs r USING audit_now n WHERE n.name = 'reorgs' AND n.verdict = 'extra' AND r.ctid = n.place;
        DELETE FROM repeated_sightings r USING audit_now n WHERE n.name = 'repeated_sightings' AND n.verdict = 'extra' AND r.ctid = n.place;
        INSERT INTO reorgs (stream, stream_ms, stream_seq, network, fork_block, depth, notice)
        SELECT a.stream, a.stream_ms, a.stream_seq, a.network, a.fork_block, a.depth, a.notice
        FROM audit_now n JOIN audit_notice a ON a.ctid = n.place WHERE n.name = 'reorgs' AND n.verdict = 'missing';
        UPDATE reorgs r SET counts = l.leads
        FROM audit_setting s, (SELECT DISTINCT d.stream, d.network, d.fork_block, d.depth FROM reorgs d) k
        CROSS JOIN LATERAL reorg_leads(k.stream, k.network, k.fork_block, k.depth, s.window_ms) l
        WHERE l.leads <> l.counts AND (r.stream, r.stream_ms, r.stream_seq) = (k.stream, l.stream_ms, l.stream_seq);
        RETURN mended;
END $$;

-- Events that do not stand where the reorgs put them, in the same two steps: their blocks, in parts, found without the lock; then event_settle.
CREATE FUNCTION reorg_find() RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
        INSERT INTO audit_block
        SELECT row_number() OVER (ORDER BY b.block_number, b.block_hash) / 50, b.block_number, b.block_hash
        FROM (SELECT DISTINCT s.block_number, s.block_hash
                FROM event_misplaced() m
                JOIN event_sighting s ON (s.source_table, s.transaction_hash, s.log_index, s.block_hash)
                        = (m.source_table, m.transaction_hash, m.log_index, m.block_hash)) b;
        RETURN (SELECT coalesce(max(b.part) + 1, 0) FROM audit_block b);
END $$;
