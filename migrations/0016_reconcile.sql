-- Reconciling with the chain: the events that a node has of a range of blocks against those that stand in the tables. The verdicts that come of
-- it, and what they do, are in 0011 and 0012.

-- The content of an event row as its table would have it.
CREATE FUNCTION chain_content(name TEXT, event_row JSONB) RETURNS JSONB LANGUAGE sql STABLE AS $$
        SELECT CASE name
                WHEN 'atom_created_events' THEN to_jsonb(jsonb_populate_record(NULL::atom_created_events, event_row))
                WHEN 'triple_created_events' THEN to_jsonb(jsonb_populate_record(NULL::triple_created_events, event_row))
                WHEN 'deposited_events' THEN to_jsonb(jsonb_populate_record(NULL::deposited_events, event_row))
                WHEN 'redeemed_events' THEN to_jsonb(jsonb_populate_record(NULL::redeemed_events, event_row))
                WHEN 'share_price_changed_events' THEN to_jsonb(jsonb_populate_record(NULL::share_price_changed_events, event_row))
        END
$$;

-- The differences between the chain's events of the blocks lo to hi, given as arrays, and what stands. kind:
-- missing: on the chain, and not in its table; wrong: it stands there with another content; place: where it is in the arrays, from 1
-- odd: it stands there, and the chain's events do not show it (or its block, where only that can be judged)
-- next: a version of the same event that may come to stand when an odd one goes; its block can be judged
CREATE FUNCTION chain_compare(lo BIGINT, hi BIGINT, contract TEXT, tables TEXT[], transactions TEXT[], indexes BIGINT[], blocks BIGINT[],
        block_hashes TEXT[], event_rows JSONB[])
RETURNS TABLE (kind TEXT, place BIGINT, source_table TEXT, transaction_hash TEXT, log_index BIGINT, block_number BIGINT, block_hash TEXT, judged BOOLEAN)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        RETURN QUERY
        WITH other AS MATERIALIZED (
                SELECT name, event_others(name) AS columns FROM unnest(event_tables()) name
        ), shown AS MATERIALIZED (
                SELECT * FROM unnest(tables, transactions, indexes, blocks, block_hashes, event_rows) WITH ORDINALITY e (t, x, i, b, h, r, n)
        ), stored AS MATERIALIZED (
                -- of events of another kind, and of another contract, only the block can be judged
                SELECT s.source_table, s.transaction_hash, s.log_index, s.block_number, s.block_hash,
                        s.source_table <> 'generic_events' AND s.address = contract AS judged
                FROM event_standing s WHERE s.block_number BETWEEN lo AND hi
        ), odd AS MATERIALIZED (
                SELECT s.* FROM stored s
                WHERE CASE WHEN s.judged THEN (s.source_table, s.transaction_hash, s.log_index, s.block_hash) NOT IN (SELECT e.t, e.x, e.i, e.h FROM shown e)
                        ELSE (s.block_number, s.block_hash) NOT IN (SELECT e.b, e.h FROM shown e) END
        )
        SELECT CASE WHEN s.block_hash IS NULL THEN 'missing' ELSE 'wrong' END, e.n, e.t, e.x, e.i, e.b, e.h, true
        FROM shown e JOIN other o ON o.name = e.t LEFT JOIN LATERAL (
                SELECT v.block_hash, v.event_row - o.columns AS content
                FROM event_standing v
                WHERE v.source_table = e.t AND v.transaction_hash = e.x AND v.log_index = e.i AND v.block_hash = e.h OFFSET 0) s ON true
        WHERE s.block_hash IS NULL
                -- a producer may have had no time of the block; that stays
                OR s.content <> chain_content(e.t, CASE WHEN s.content -> 'block_timestamp' = 'null' THEN e.r - 'block_timestamp' ELSE e.r END) - o.columns
        UNION ALL
        SELECT 'odd', 0, s.source_table, s.transaction_hash, s.log_index, s.block_number, s.block_hash, s.judged
        FROM odd s
        UNION ALL
        SELECT 'next', 0, n.source_table, n.transaction_hash, n.log_index, n.block_number, n.block_hash, false
        FROM odd s CROSS JOIN LATERAL (
                SELECT * FROM orphaned_events o WHERE o.source_table = s.source_table AND o.transaction_hash = s.transaction_hash
                        AND o.log_index = s.log_index AND o.reason = 'superseded' AND o.block_number <= hi OFFSET 0) n;
END $$;

-- Under the exclusive lock: the verdicts of a range, from the moment ms on. Blocks that are not on the chain; events that are not in their
-- block; and events that are (those that were missing), whose blocks are on the chain. Returns what event_take returns.
CREATE FUNCTION chain_settle(ms BIGINT, dead_blocks BIGINT[], dead_hashes TEXT[],
        absent_tables TEXT[], absent_transactions TEXT[], absent_indexes BIGINT[], absent_blocks BIGINT[], absent_hashes TEXT[],
        tables TEXT[], transactions TEXT[], indexes BIGINT[], blocks BIGINT[], block_hashes TEXT[], event_rows JSONB[])
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        INSERT INTO chain_block AS c (block_number, block_hash, live, stream_ms)
        SELECT DISTINCT v.b, v.h, v.l, ms
        FROM (SELECT b, h, false FROM unnest(dead_blocks, dead_hashes) d (b, h)
                UNION ALL SELECT b, h, true FROM unnest(blocks, block_hashes) l (b, h)) v (b, h, l)
        ON CONFLICT ON CONSTRAINT chain_block_pkey DO UPDATE SET live = excluded.live, stream_ms = excluded.stream_ms
        WHERE excluded.stream_ms > c.stream_ms;

        INSERT INTO chain_absent AS a
        SELECT e.t, e.x, e.i, e.h, e.b, ms
        FROM unnest(absent_tables, absent_transactions, absent_indexes, absent_hashes, absent_blocks) e (t, x, i, h, b)
        WHERE NOT EXISTS (SELECT FROM event_sighting v WHERE v.source_table = e.t AND v.transaction_hash = e.x AND v.log_index = e.i
                AND v.block_hash = e.h AND v.stream = 'chain' AND v.stream_ms > ms OFFSET 0)
        ON CONFLICT ON CONSTRAINT chain_absent_pkey DO UPDATE SET stream_ms = greatest(a.stream_ms, excluded.stream_ms);
        DELETE FROM chain_absent a USING unnest(tables, transactions, indexes, block_hashes) e (t, x, i, h)
        WHERE (a.source_table, a.transaction_hash, a.log_index, a.block_hash) = (e.t, e.x, e.i, e.h) AND a.stream_ms <= ms;

        -- what is orphaned with another content comes back with the chain's, and as a row of the chain; where it came from stays a sighting
        WITH other AS (
                SELECT e.r, o.source_table, o.transaction_hash, o.log_index, o.block_hash, o.block_number, o.stream, o.stream_ms, o.stream_seq
                FROM unnest(tables, transactions, indexes, block_hashes, event_rows) e (t, x, i, h, r)
                JOIN orphaned_events o ON (o.source_table, o.transaction_hash, o.log_index, o.block_hash) = (e.t, e.x, e.i, e.h)
                WHERE o.reason <> 'not in stream' AND chain_content(e.t, o.event_row)
                        <> chain_content(e.t, CASE WHEN o.event_row -> 'block_timestamp' = 'null' THEN e.r - 'block_timestamp' ELSE e.r END)
        ), noted AS (
                INSERT INTO repeated_sightings
                SELECT o.source_table, o.transaction_hash, o.log_index, o.block_hash, o.block_number, o.stream, o.stream_ms, o.stream_seq FROM other o
                ON CONFLICT DO NOTHING
        )
        UPDATE orphaned_events o SET stream = 'chain', stream_ms = ms, stream_seq = 0,
                event_row = o.event_row || x.r || jsonb_build_object('stream', 'chain', 'stream_ms', ms, 'stream_seq', 0)
        FROM other x WHERE (o.source_table, o.transaction_hash, o.log_index, o.block_hash) = (x.source_table, x.transaction_hash, x.log_index, x.block_hash);
        PERFORM event_note(tables, transactions, indexes, blocks, block_hashes, event_rows,
                array_fill('chain'::text, ARRAY[cardinality(tables)]), array_fill(ms, ARRAY[cardinality(tables)]),
                array_fill(0::bigint, ARRAY[cardinality(tables)]), array_fill(NULL::bigint, ARRAY[cardinality(tables)]));
        RETURN QUERY SELECT * FROM event_touched(event_settle(dead_blocks || absent_blocks || blocks, dead_hashes || absent_hashes || block_hashes));
END $$;

-- Under the exclusive lock: rows of one event table whose content is not the chain's get it, and come from the chain from now on; where they came
-- from before stays a sighting. One statement on the event table, so that its trigger takes locks in the usual order. Returns what event_take returns.
CREATE FUNCTION chain_mend(name TEXT, ms BIGINT, event_rows JSONB[])
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        columns TEXT := event_columns(name);
        mended BIGINT;
BEGIN
        -- the vaults of all that follows in one pass in order: cascade locks vaults, too
        PERFORM FROM vault v
        WHERE (v.term_id, v.curve_id) IN (
                SELECT k.term_id, k.curve_id
                FROM (SELECT array_agg((r ->> 'block_number')::bigint) AS b, array_agg(r ->> 'block_hash') AS h FROM unnest(event_rows) r) blocks
                CROSS JOIN LATERAL event_keys(blocks.b, blocks.h, false) k
                UNION
                SELECT r ->> 'term_id', r ->> 'curve_id' FROM unnest(event_rows) r)
        ORDER BY v.term_id, v.curve_id FOR UPDATE;
        EXECUTE format('INSERT INTO repeated_sightings
                SELECT %1$L, t.transaction_hash, t.log_index, t.block_hash, (r ->> ''block_number'')::bigint, t.stream, t.stream_ms, t.stream_seq
                FROM unnest($1) r JOIN %1$I t ON (t.transaction_hash, t.log_index, t.block_hash)
                        = (r ->> ''transaction_hash'', (r ->> ''log_index'')::bigint, r ->> ''block_hash'')
                ON CONFLICT DO NOTHING', name) USING event_rows;
        EXECUTE format('UPDATE %1$I t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$I,
                        r || jsonb_build_object(''stream'', ''chain'', ''stream_ms'', $2, ''stream_seq'', 0)))
                FROM unnest($1) r
                WHERE (t.transaction_hash, t.log_index, t.block_hash) = (r ->> ''transaction_hash'', (r ->> ''log_index'')::bigint, r ->> ''block_hash'')',
                name, columns) USING event_rows, ms;
        GET DIAGNOSTICS mended = ROW_COUNT;
        -- the verdict, whether or not they still stand; and what else is in these blocks
        RETURN QUERY SELECT s.term_id, s.curve_id, s.block_number, s.moved_rows + CASE WHEN s.term_id IS NULL THEN mended ELSE 0 END
                FROM (SELECT array_agg(name) AS tables, array_agg(r ->> 'transaction_hash') AS transactions,
                        array_agg((r ->> 'log_index')::bigint) AS indexes, array_agg((r ->> 'block_number')::bigint) AS blocks,
                        array_agg(r ->> 'block_hash') AS block_hashes FROM unnest(event_rows) r) e
                CROSS JOIN LATERAL chain_settle(ms, '{}', '{}', '{}', '{}', '{}', '{}', '{}', e.tables, e.transactions, e.indexes, e.blocks,
                        e.block_hashes, event_rows) s;
END $$;
