-- Reorgs: which events are live. Liveness is a function of the SET of sightings and notices with their stream positions; the order in which
-- workers handle them does not matter, because whatever is handled re-evaluates, from that set, everything its arrival can change:
--
-- * A sighting is an event at a stream position. Sightings are the rows' own positions (event tables, orphaned_events) and, for events that
--   came again elsewhere, repeated_sightings. So the plain path writes nothing extra.
-- * A notice counts, or it is a copy of one that does (reorgs.counts). A copy handled before the one it copies counts first and is
--   re-clustered when that one comes: only a change of the counting set re-evaluates blocks.
-- * Notices with fork_block <= b cut a stream into epochs. A block seen in consecutive epochs is announced in the first, a straggler in the
--   second, announced again in the third …: it is live if the run of epochs that ends with the last one has odd length.
-- * An event version (an event in one block) is live if its block is live in a stream it was seen in. Of live versions of one
--   (transaction, log index) the one with the latest sighting stands in its event table, all others in orphaned_events; of several in that
--   entry the first.
-- * A verdict of the chain on a block (0011) is in every stream what stands there at its position, and nothing stands before it. While no
--   notice behind it reaches the block, it is the block's state. Rows that came from the chain are sightings in a stream of their own, `chain`,
--   which no input stream can be called: their state is that of the verdict, and false once a notice of whatever stream has ended it.
--
-- Inserts hold a shared advisory lock to their commit, whatever re-evaluates an exclusive one: neither misses the other. An insert of
-- sightings in the last epoch of blocks that are live, or new, is plain (event_guard); any other rolls back and runs again through event_take.
--
-- Functions that are given arrays plan once, by key: planning costs more than a small batch, and a plan that was made while the tables were empty
-- must not read them whole when they are large.

CREATE TABLE reorgs (
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        network TEXT COLLATE "C" NOT NULL,
        fork_block BIGINT NOT NULL,
        depth BIGINT NOT NULL,
        notice JSONB NOT NULL,
        counts BOOLEAN NOT NULL DEFAULT false, -- false: a copy
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        PRIMARY KEY (stream, stream_ms, stream_seq)
);
CREATE INDEX ON reorgs (stream, fork_block) WHERE counts;

CREATE TABLE repeated_sightings (
        source_table TEXT COLLATE "C" NOT NULL,
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        place BIGINT, -- in event_data, where one entry holds several versions of the event; these are all here, the rows' own positions, too
        PRIMARY KEY (source_table, transaction_hash, log_index, block_hash, stream, stream_ms, stream_seq)
);
CREATE INDEX ON repeated_sightings (block_number);

-- The event tables as one, with the keys that their rows are about, and all sightings.
CREATE VIEW event_standing AS
SELECT 'atom_created_events' COLLATE "C" AS source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq,
        term_id, NULL COLLATE "C" AS counter_term_id, NULL COLLATE "C" AS curve_id
FROM atom_created_events
UNION ALL
SELECT 'triple_created_events', transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, term_id, counter_term_id, NULL
FROM triple_created_events
UNION ALL
SELECT 'deposited_events', transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, term_id, NULL, curve_id
FROM deposited_events
UNION ALL
SELECT 'redeemed_events', transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, term_id, NULL, curve_id
FROM redeemed_events
UNION ALL
SELECT 'share_price_changed_events', transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, term_id, NULL, curve_id
FROM share_price_changed_events
UNION ALL
SELECT 'generic_events', transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, NULL, NULL, NULL
FROM generic_events;

CREATE VIEW event_sighting AS
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, NULL::bigint AS place
FROM event_standing
UNION ALL
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, NULL
FROM orphaned_events WHERE reason <> 'not in stream'
UNION ALL
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, place FROM repeated_sightings;

-- The state of blocks in each stream they were seen in.
CREATE FUNCTION block_state(numbers BIGINT[], hashes TEXT[])
RETURNS TABLE (stream TEXT, block_number BIGINT, block_hash TEXT, live BOOLEAN) LANGUAGE sql STABLE AS $$
        -- each step once, whatever the planner thinks of arrays of unknown length
        WITH sighting AS MATERIALIZED (
                SELECT s.stream, s.block_number, s.block_hash, s.stream_ms, s.stream_seq
                FROM event_sighting s
                WHERE s.block_number = ANY (numbers) AND (s.block_number, s.block_hash) IN (SELECT * FROM unnest(numbers, hashes))
        ), verdict AS MATERIALIZED (
                SELECT c.block_number, c.block_hash, c.live, c.stream_ms, NOT EXISTS (SELECT FROM reorgs n
                        WHERE n.counts AND n.fork_block <= c.block_number AND n.stream_ms >= c.stream_ms) AS stands
                FROM chain_block c
                WHERE c.block_number = ANY (numbers) AND (c.block_number, c.block_hash) IN (SELECT * FROM unnest(numbers, hashes))
        ), seen AS MATERIALIZED (
                SELECT DISTINCT s.stream, s.block_number, s.block_hash, (
                        SELECT count(*) FROM reorgs n
                        WHERE n.counts AND n.stream = s.stream AND n.fork_block <= s.block_number
                                AND (n.stream_ms, n.stream_seq) < (s.stream_ms, s.stream_seq)) AS epoch
                FROM (
                        SELECT s.stream, s.block_number, s.block_hash, s.stream_ms, s.stream_seq
                        FROM sighting s LEFT JOIN verdict c USING (block_number, block_hash)
                        WHERE c.stream_ms IS NULL OR s.stream_ms >= c.stream_ms
                        UNION ALL
                        SELECT s.stream, s.block_number, s.block_hash, c.stream_ms, -1
                        FROM sighting s JOIN verdict c USING (block_number, block_hash)
                        WHERE c.live
                ) s
        ), run AS MATERIALIZED (
                SELECT r.stream, r.block_number, r.block_hash, max(r.epoch) AS last_epoch, count(*) AS length
                FROM (SELECT *, epoch - row_number() OVER (PARTITION BY stream, block_number, block_hash ORDER BY epoch) AS run FROM seen) r
                GROUP BY r.stream, r.block_number, r.block_hash, r.run
        ), law AS MATERIALIZED (
                SELECT r.stream, r.block_number, r.block_hash, bool_or(r.length % 2 = 1 AND r.last_epoch = (
                        SELECT count(*) FROM reorgs n WHERE n.counts AND n.stream = r.stream AND n.fork_block <= r.block_number)) AS live
                FROM run r
                GROUP BY r.stream, r.block_number, r.block_hash
        )
        SELECT s.stream, s.block_number, s.block_hash,
                CASE WHEN c.stands THEN c.live WHEN s.stream = 'chain' THEN false ELSE coalesce(l.live, false) END
        FROM (SELECT DISTINCT stream, block_number, block_hash FROM sighting) s
        LEFT JOIN law l USING (stream, block_number, block_hash)
        LEFT JOIN verdict c USING (block_number, block_hash)
$$;

CREATE FUNCTION event_lock(exclusively BOOLEAN) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
        IF exclusively THEN
                PERFORM pg_advisory_xact_lock(hashtext('events'), 0), set_config('events.alone', 'true', true);
        ELSE
                PERFORM pg_advisory_xact_lock_shared(hashtext('events'), 0);
        END IF;
END $$;

-- Whether this transaction holds the lock exclusively.
CREATE FUNCTION event_alone() RETURNS BOOLEAN LANGUAGE sql STABLE AS $$ SELECT current_setting('events.alone', true) IS NOT DISTINCT FROM 'true' $$;

-- Raises RO001 unless a batch of new sightings is plain: whatever else comes, it cannot change the state of a block.
CREATE FUNCTION event_guard(streams TEXT[], numbers BIGINT[], hashes TEXT[], ms BIGINT[], seq BIGINT[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        reached_numbers BIGINT[];
        reached_hashes TEXT[];
BEGIN
        -- what the chain has ruled out, block or event
        IF (EXISTS (SELECT FROM chain_block c WHERE NOT c.live) OR EXISTS (SELECT FROM chain_absent))
                AND (EXISTS (SELECT FROM chain_block c
                        WHERE NOT c.live AND c.block_number BETWEEN (SELECT min(b) FROM unnest(numbers) b) AND (SELECT max(b) FROM unnest(numbers) b)
                                AND (c.block_number, c.block_hash) IN (SELECT * FROM unnest(numbers, hashes)))
                OR EXISTS (SELECT FROM chain_absent a
                        WHERE a.block_number BETWEEN (SELECT min(b) FROM unnest(numbers) b) AND (SELECT max(b) FROM unnest(numbers) b)
                                AND (a.block_number, a.block_hash) IN (SELECT * FROM unnest(numbers, hashes)))) THEN
                RAISE EXCEPTION 'the chain has ruled on a block' USING ERRCODE = 'RO001';
        END IF;
        -- any stream's notice: an event may stand in two streams, orphaned in one and live in the other
        IF NOT EXISTS (SELECT FROM reorgs n WHERE n.counts AND n.fork_block <= (SELECT max(b) FROM unnest(numbers) b)) THEN
                RETURN;
        END IF;
        SELECT array_agg(b), array_agg(h) INTO reached_numbers, reached_hashes
        FROM (SELECT DISTINCT e.b, e.h FROM unnest(numbers, hashes) e (b, h)
                WHERE EXISTS (SELECT FROM reorgs n WHERE n.counts AND n.fork_block <= e.b)) reached;
        IF reached_numbers IS NULL THEN
                RETURN;
        END IF;
        -- Plain is only what cannot matter, whatever other plain batches, unseen by this one, bring at the same time: sightings in the last epoch
        -- of blocks that are live, or new. (Two batches may each leave a block live and together not: one fills epoch k-1, the other k-3.)
        IF EXISTS (SELECT FROM unnest(streams, numbers, ms, seq) e (s, b, m, q)
                        JOIN reorgs n ON n.counts AND n.stream = e.s AND n.fork_block <= e.b AND (n.stream_ms, n.stream_seq) > (e.m, e.q))
                OR EXISTS (SELECT FROM block_state(reached_numbers, reached_hashes) s WHERE NOT s.live) THEN
                RAISE EXCEPTION 'a block''s state may change' USING ERRCODE = 'RO001';
        END IF;
END $$;

-- Notes the positions of events of one table that were there before. Raises RO001 where what is there stands in another block.
CREATE FUNCTION event_repeat(name TEXT, hashes TEXT[], indexes BIGINT[], blocks BIGINT[], block_hashes TEXT[],
        streams TEXT[], ms BIGINT[], seq BIGINT[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
        elsewhere BOOLEAN;
BEGIN
        EXECUTE format('SELECT EXISTS (SELECT FROM unnest($1, $2, $3) e (h, i, b) LEFT JOIN %I t ON t.transaction_hash = e.h AND t.log_index = e.i
                WHERE t.block_hash IS DISTINCT FROM e.b)', name) INTO elsewhere USING hashes, indexes, block_hashes;
        IF elsewhere THEN
                RAISE EXCEPTION 'an event stands in two blocks' USING ERRCODE = 'RO001';
        END IF;
        EXECUTE format('INSERT INTO repeated_sightings
                SELECT %1$L, e.h, e.i, e.b, e.n, e.s, e.m, e.q
                FROM unnest($1, $2, $3, $4, $5, $6, $7) e (h, i, n, b, s, m, q)
                JOIN %1$I t ON t.transaction_hash = e.h AND t.log_index = e.i
                WHERE (t.stream, t.stream_ms, t.stream_seq) <> (e.s, e.m, e.q)
                ORDER BY e.h, e.i, e.s, e.m, e.q
                ON CONFLICT DO NOTHING', name) USING hashes, indexes, blocks, block_hashes, streams, ms, seq;
END $$;

CREATE TYPE event_version AS (source_table TEXT COLLATE "C", transaction_hash TEXT COLLATE "C", log_index BIGINT, block_hash TEXT COLLATE "C",
        live BOOLEAN, wins BOOLEAN);

-- Every version of every event that was seen in one of the given blocks: is its block live, and is it the one that stands?
CREATE FUNCTION event_verdict(numbers BIGINT[], hashes TEXT[])
RETURNS TABLE (source_table TEXT, transaction_hash TEXT, log_index BIGINT, block_hash TEXT, live BOOLEAN, wins BOOLEAN) LANGUAGE sql STABLE AS $$
        WITH key AS MATERIALIZED (
                SELECT DISTINCT s.source_table, s.transaction_hash, s.log_index FROM event_sighting s
                WHERE s.block_number = ANY (numbers) AND (s.block_number, s.block_hash) IN (SELECT * FROM unnest(numbers, hashes))
        ), version AS MATERIALIZED (
                SELECT v.* FROM key k CROSS JOIN LATERAL (
                        SELECT * FROM event_sighting s WHERE s.source_table = k.source_table
                                AND s.transaction_hash = k.transaction_hash AND s.log_index = k.log_index OFFSET 0) v
        ), state AS MATERIALIZED (
                SELECT b.* FROM (SELECT array_agg(v.block_number) AS n, array_agg(v.block_hash) AS h
                        FROM (SELECT DISTINCT block_number, block_hash FROM version) v) blocks
                CROSS JOIN LATERAL block_state(blocks.n, blocks.h) b
        ), best AS (
                SELECT DISTINCT ON (v.source_table, v.transaction_hash, v.log_index, v.block_hash) v.*, s.live AND a.log_index IS NULL AS live
                FROM version v JOIN state s ON (s.stream, s.block_number, s.block_hash) = (v.stream, v.block_number, v.block_hash)
                LEFT JOIN chain_absent a ON (a.source_table, a.transaction_hash, a.log_index, a.block_hash)
                        = (v.source_table, v.transaction_hash, v.log_index, v.block_hash)
                ORDER BY v.source_table, v.transaction_hash, v.log_index, v.block_hash, s.live DESC,
                        v.stream_ms DESC, v.stream_seq DESC, v.stream DESC, v.place
        )
        SELECT b.source_table, b.transaction_hash, b.log_index, b.block_hash, b.live,
                b.live AND row_number() OVER (PARTITION BY b.source_table, b.transaction_hash, b.log_index
                        ORDER BY b.live DESC, b.stream_ms DESC, b.stream_seq DESC, b.stream DESC, b.place NULLS FIRST, b.block_hash) = 1
        FROM best b
$$;

-- Under the exclusive lock: brings the events of the given blocks to where they belong. Returns how many rows moved.
CREATE FUNCTION event_settle(numbers BIGINT[], hashes TEXT[]) RETURNS BIGINT LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        name TEXT;
        versions event_version[] := ARRAY(SELECT ROW(v.*)::event_version FROM event_verdict(numbers, hashes) v);
        moved BIGINT := 0;
        step BIGINT;
BEGIN

        -- The vaults of all that moves are locked here, in one pass in order: table by table they would be out of order, and cascade locks vaults, too.
        INSERT INTO vault (term_id, curve_id, vault_type, created_at, updated_at)
        SELECT DISTINCT m.term_id COLLATE "C", m.curve_id COLLATE "C", '0', now(), now()
        FROM (
                SELECT t.term_id, t.curve_id FROM unnest(versions) v JOIN deposited_events t USING (transaction_hash, log_index, block_hash)
                WHERE v.source_table = 'deposited_events' AND NOT v.wins
                UNION ALL
                SELECT t.term_id, t.curve_id FROM unnest(versions) v JOIN redeemed_events t USING (transaction_hash, log_index, block_hash)
                WHERE v.source_table = 'redeemed_events' AND NOT v.wins
                UNION ALL
                SELECT t.term_id, t.curve_id FROM unnest(versions) v JOIN share_price_changed_events t USING (transaction_hash, log_index, block_hash)
                WHERE v.source_table = 'share_price_changed_events' AND NOT v.wins
                UNION ALL
                SELECT o.event_row ->> 'term_id', o.event_row ->> 'curve_id'
                FROM unnest(versions) v JOIN orphaned_events o USING (source_table, transaction_hash, log_index, block_hash)
                WHERE v.wins AND o.reason <> 'not in stream'
                        AND v.source_table IN ('deposited_events', 'redeemed_events', 'share_price_changed_events')
        ) m
        ORDER BY 1, 2
        ON CONFLICT (term_id, curve_id) DO UPDATE SET term_id = excluded.term_id WHERE false;

        FOREACH name IN ARRAY ARRAY['atom_created_events', 'triple_created_events', 'deposited_events', 'redeemed_events',
                'share_price_changed_events', 'generic_events'] LOOP
                CONTINUE WHEN NOT EXISTS (SELECT FROM unnest(versions) v WHERE v.source_table = name);
                EXECUTE format('WITH gone AS (
                                DELETE FROM %1$I t USING unnest($1) v
                                WHERE v.source_table = %1$L AND NOT v.wins AND v.transaction_hash = t.transaction_hash
                                        AND v.log_index = t.log_index AND v.block_hash = t.block_hash
                                RETURNING t.*)
                        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                stream, stream_ms, stream_seq, reason)
                        SELECT %1$L, transaction_hash, log_index, block_hash, block_number, to_jsonb(gone), stream, stream_ms, stream_seq, ''reorg''
                        FROM gone
                        -- it stood there as one that no stream held, and came again
                        ON CONFLICT (source_table, transaction_hash, log_index, block_hash) DO UPDATE SET event_row = excluded.event_row,
                                stream = excluded.stream, stream_ms = excluded.stream_ms, stream_seq = excluded.stream_seq, reason = excluded.reason',
                        name) USING versions;
                GET DIAGNOSTICS step = ROW_COUNT;
                moved := moved + step;
                EXECUTE format('WITH back AS (
                                DELETE FROM orphaned_events o USING unnest($1) v
                                WHERE o.source_table = %1$L AND v.source_table = %1$L AND v.wins AND v.transaction_hash = o.transaction_hash
                                        AND v.log_index = o.log_index AND v.block_hash = o.block_hash
                                        AND o.reason <> ''not in stream'' -- what no stream held is not what stands
                                RETURNING o.*)
                        INSERT INTO %1$I SELECT r.* FROM back CROSS JOIN LATERAL jsonb_populate_record(NULL::%1$I, back.event_row) r
                        ORDER BY r.transaction_hash, r.log_index
                        ON CONFLICT (transaction_hash, log_index) DO NOTHING -- it stands already: one of the two was too much', name) USING versions;
                GET DIAGNOSTICS step = ROW_COUNT;
                moved := moved + step;
        END LOOP;
        -- of what stays away: why, and by which notice, the last one that reaches it in its stream; where there is none, the chain has ruled
        UPDATE orphaned_events o SET reason = w.reason, notice = w.notice
        FROM (
                SELECT x.id, CASE WHEN v.live THEN 'superseded' WHEN n.notice IS NULL THEN 'not on chain' ELSE 'reorg' END AS reason, n.notice
                FROM unnest(versions) v
                JOIN orphaned_events x ON (x.source_table, x.transaction_hash, x.log_index, x.block_hash)
                        = (v.source_table, v.transaction_hash, v.log_index, v.block_hash)
                LEFT JOIN LATERAL (
                        SELECT r.notice FROM reorgs r
                        WHERE NOT v.live AND r.counts AND (r.stream = x.stream OR x.stream = 'chain') AND r.fork_block <= x.block_number
                                AND NOT EXISTS (SELECT FROM chain_block c WHERE (c.block_number, c.block_hash) = (x.block_number, x.block_hash)
                                        AND NOT c.live AND c.stream_ms > r.stream_ms)
                                AND NOT EXISTS (SELECT FROM chain_absent a WHERE (a.source_table, a.transaction_hash, a.log_index, a.block_hash)
                                        = (x.source_table, x.transaction_hash, x.log_index, x.block_hash))
                        ORDER BY r.stream_ms DESC, r.stream_seq DESC LIMIT 1) n ON true
        ) w
        WHERE o.id = w.id AND (o.reason, o.notice) IS DISTINCT FROM (w.reason, w.notice);
        RETURN moved;
END $$;

-- The keys this transaction has left in the outbox, for the stream; and, in a row of its own, how many event rows moved.
CREATE FUNCTION event_touched(moved BIGINT) RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql AS $$
BEGIN
        RETURN QUERY SELECT NULL::text, NULL::text, 0::bigint, moved;
        RETURN QUERY SELECT o.term_id, o.curve_id, max(o.block_number), 0::bigint
                FROM vault_waiting o WHERE o.created_at = now() GROUP BY o.term_id, o.curve_id;
END $$;

-- The keys of all versions of the events of the given blocks, or of those of them where events may have moved, in the same form. For what is
-- delivered again: nobody may have been told of what moved the first time.
CREATE FUNCTION event_keys(numbers BIGINT[], hashes TEXT[], only_moved BOOLEAN)
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        reached_numbers BIGINT[];
        reached_hashes TEXT[];
BEGIN
        SELECT array_agg(e.b), array_agg(e.h) INTO reached_numbers, reached_hashes
        FROM (SELECT DISTINCT u.b, u.h FROM unnest(numbers, hashes) u (b, h)) e
        WHERE NOT only_moved OR EXISTS (SELECT FROM reorgs n WHERE n.counts AND n.fork_block <= e.b)
                OR EXISTS (SELECT FROM chain_block c WHERE c.block_number = e.b AND c.block_hash = e.h)
                OR EXISTS (SELECT FROM chain_absent a WHERE a.block_number = e.b AND a.block_hash = e.h);
        IF reached_numbers IS NULL THEN
                RETURN;
        END IF;
        RETURN QUERY WITH key AS MATERIALIZED (
                SELECT DISTINCT s.source_table AS t, s.transaction_hash AS x, s.log_index AS i FROM event_sighting s
                WHERE s.block_number = ANY (reached_numbers)
                        AND (s.block_number, s.block_hash) IN (SELECT * FROM unnest(reached_numbers, reached_hashes))
        ), version AS ( -- by key, however few rows the planner takes the tables to have
                SELECT v.* FROM key k CROSS JOIN LATERAL (SELECT e.term_id, e.counter_term_id, e.curve_id, e.block_number
                        FROM event_standing e WHERE e.source_table = k.t AND e.transaction_hash = k.x AND e.log_index = k.i OFFSET 0) v
                UNION ALL
                SELECT v.* FROM key k CROSS JOIN LATERAL (SELECT o.event_row ->> 'term_id', o.event_row ->> 'counter_term_id',
                                o.event_row ->> 'curve_id', o.block_number
                        FROM orphaned_events o WHERE o.source_table = k.t AND o.transaction_hash = k.x AND o.log_index = k.i OFFSET 0) v
        )
        SELECT u.id, v.curve_id, max(v.block_number), 0::bigint
        FROM version v CROSS JOIN LATERAL (VALUES (v.term_id), (v.counter_term_id)) u (id)
        WHERE u.id IS NOT NULL -- generic events have none
        GROUP BY u.id, v.curve_id;
END $$;

-- Each version that is new is stored as orphaned, each sighting noted; event_settle then brings them to where they belong.
CREATE FUNCTION event_note(tables TEXT[], transactions TEXT[], indexes BIGINT[], blocks BIGINT[], block_hashes TEXT[], event_rows JSONB[],
        streams TEXT[], ms BIGINT[], seq BIGINT[], places BIGINT[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row, stream, stream_ms, stream_seq, reason)
        SELECT DISTINCT ON (e.t, e.x, e.i, e.h) e.t, e.x, e.i, e.h, e.b,
                e.r || jsonb_build_object('stream', e.s, 'stream_ms', e.m, 'stream_seq', e.q, 'created_at', now()), e.s, e.m, e.q, 'reorg'
        FROM unnest(tables, transactions, indexes, blocks, block_hashes, event_rows, streams, ms, seq) e (t, x, i, b, h, r, s, m, q)
        WHERE NOT EXISTS (SELECT FROM event_sighting v WHERE v.source_table = e.t AND v.transaction_hash = e.x AND v.log_index = e.i
                AND v.block_hash = e.h OFFSET 0) -- by key, however few rows the planner takes the tables to have
        ORDER BY e.t, e.x, e.i, e.h, e.m, e.q
        -- it stood there as one that no stream holds: now one does
        ON CONFLICT (source_table, transaction_hash, log_index, block_hash) DO UPDATE SET event_row = excluded.event_row, stream = excluded.stream,
                stream_ms = excluded.stream_ms, stream_seq = excluded.stream_seq, reason = excluded.reason;

        INSERT INTO repeated_sightings
        SELECT e.t, e.x, e.i, e.h, e.b, e.s, e.m, e.q
        FROM unnest(tables, transactions, indexes, blocks, block_hashes, streams, ms, seq) e (t, x, i, b, h, s, m, q)
        WHERE NOT EXISTS (SELECT FROM event_sighting v WHERE v.source_table = e.t AND v.transaction_hash = e.x AND v.log_index = e.i
                AND v.block_hash = e.h AND (v.stream, v.stream_ms, v.stream_seq) = (e.s, e.m, e.q) OFFSET 0)
        ON CONFLICT DO NOTHING;

        -- of several versions in one entry the first one stands
        INSERT INTO repeated_sightings AS r
        SELECT e.t, e.x, e.i, e.h, min(e.b), e.s, e.m, e.q, min(e.p)
        FROM unnest(tables, transactions, indexes, blocks, block_hashes, streams, ms, seq, places) e (t, x, i, b, h, s, m, q, p)
        WHERE EXISTS (SELECT FROM event_sighting v WHERE v.source_table = e.t AND v.transaction_hash = e.x AND v.log_index = e.i
                AND v.block_hash <> e.h AND (v.stream, v.stream_ms, v.stream_seq) = (e.s, e.m, e.q) OFFSET 0)
        GROUP BY e.t, e.x, e.i, e.h, e.s, e.m, e.q
        ON CONFLICT ON CONSTRAINT repeated_sightings_pkey DO UPDATE SET place = least(r.place, excluded.place);
END $$;

-- The careful way in: events whose blocks are not plainly live.
CREATE FUNCTION event_take(tables TEXT[], transactions TEXT[], indexes BIGINT[], blocks BIGINT[], block_hashes TEXT[], event_rows JSONB[],
        streams TEXT[], ms BIGINT[], seq BIGINT[], places BIGINT[])
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql AS $$
BEGIN
        PERFORM event_note(tables, transactions, indexes, blocks, block_hashes, event_rows, streams, ms, seq, places);
        RETURN QUERY SELECT * FROM event_touched(event_settle(blocks, block_hashes));
END $$;

-- A notice, under the exclusive lock. Notices of one stream with equal network, fork block and depth within window_ms of the first are one.
-- again: it was delivered before. No row at all: it is of another network than the one pinned.
CREATE FUNCTION reorg_take(stream_ TEXT, ms BIGINT, seq BIGINT, network_ TEXT, fork BIGINT, depth_ BIGINT, notice_ JSONB, window_ms BIGINT,
        again BOOLEAN)
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        n RECORD;
        first_ms BIGINT;
        leads BOOLEAN;
        changed BOOLEAN := false;
        numbers BIGINT[];
        hashes TEXT[];
BEGIN
        IF EXISTS (SELECT FROM pinned_network p WHERE p.network <> network_) THEN
                RETURN; -- pinned since the notice was decoded
        END IF;
        INSERT INTO reorgs (stream, stream_ms, stream_seq, network, fork_block, depth, notice)
        VALUES (stream_, ms, seq, network_, fork, depth_, notice_) ON CONFLICT DO NOTHING;
        IF FOUND THEN
                UPDATE chain_state SET notice_fork = least(notice_fork, fork), notices = notices + 1;
        END IF;
        FOR n IN SELECT r.stream_ms, r.stream_seq, r.counts FROM reorgs r
                WHERE r.stream = stream_ AND r.network = network_ AND r.fork_block = fork AND r.depth = depth_
                ORDER BY r.stream_ms, r.stream_seq LOOP
                leads := first_ms IS NULL OR n.stream_ms - first_ms > window_ms;
                IF leads THEN
                        first_ms := n.stream_ms;
                END IF;
                IF leads <> n.counts THEN
                        changed := true;
                        UPDATE reorgs r SET counts = leads
                        WHERE (r.stream, r.stream_ms, r.stream_seq) = (stream_, n.stream_ms, n.stream_seq);
                END IF;
        END LOOP;
        IF changed OR again THEN
                SELECT array_agg(b.block_number), array_agg(b.block_hash) INTO numbers, hashes
                FROM (SELECT s.block_number, s.block_hash FROM event_sighting s WHERE s.block_number >= fork AND s.stream = stream_
                        UNION -- it ends the chain's verdicts, whatever streams their blocks were seen in
                        SELECT c.block_number, c.block_hash FROM chain_block c WHERE c.block_number >= fork) b;
        END IF;
        RETURN QUERY SELECT * FROM event_touched(CASE WHEN changed AND numbers IS NOT NULL THEN event_settle(numbers, hashes) ELSE 0 END);
        IF again THEN
                RETURN QUERY SELECT * FROM event_keys(numbers, hashes, true);
        END IF;
END $$;

-- For verify and rebuild: the blocks whose state is not plain, and the versions in them that do not stand where they belong.
CREATE FUNCTION reorg_blocks(OUT numbers BIGINT[], OUT hashes TEXT[]) LANGUAGE sql STABLE AS $$
        SELECT array_agg(b.block_number), array_agg(b.block_hash)
        FROM (
                SELECT s.block_number, s.block_hash FROM event_sighting s
                WHERE s.block_number >= (SELECT min(n.fork_block) FROM reorgs n WHERE n.counts)
                UNION
                SELECT o.block_number, o.block_hash FROM orphaned_events o WHERE o.reason <> 'not in stream'
                UNION
                SELECT c.block_number, c.block_hash FROM chain_block c
                UNION
                SELECT a.block_number, a.block_hash FROM chain_absent a
        ) b
$$;

CREATE FUNCTION event_misplaced() RETURNS TABLE (source_table TEXT, transaction_hash TEXT, log_index BIGINT, block_hash TEXT, wins BOOLEAN)
LANGUAGE sql STABLE AS $$
        SELECT v.source_table, v.transaction_hash, v.log_index, v.block_hash, v.wins
        FROM reorg_blocks() b CROSS JOIN LATERAL event_verdict(b.numbers, b.hashes) v
        WHERE v.wins <> EXISTS (SELECT FROM event_standing s WHERE (s.source_table, s.transaction_hash, s.log_index, s.block_hash)
                        = (v.source_table, v.transaction_hash, v.log_index, v.block_hash))
                OR v.wins AND EXISTS (SELECT FROM orphaned_events o WHERE (o.source_table, o.transaction_hash, o.log_index, o.block_hash)
                        = (v.source_table, v.transaction_hash, v.log_index, v.block_hash) AND o.reason <> 'not in stream')
$$;

-- What others added to an atom (label, image …) outlives the atom: a reorg that takes it away and brings it back brings that back, too.
CREATE TABLE atom_enrichment (
        term_id TEXT COLLATE "C" PRIMARY KEY,
        type TEXT, emoji TEXT, label TEXT, image TEXT, value_id TEXT, resolving_status TEXT NOT NULL
);

-- Pins the network, where none is, for all and for good. Notices that came before it was known and are another's never counted.
CREATE FUNCTION network_pin(network_ TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
        INSERT INTO pinned_network (network) VALUES (network_) ON CONFLICT (only_row) DO NOTHING;
        IF FOUND THEN
                DELETE FROM reorgs r WHERE r.network <> network_;
        END IF;
END $$;
