-- Reorgs: which events are live.
--
-- Sets. A sighting is an event at a stream position: the position of each row in an event table, of each row in orphaned_events, and, for an
-- event that came again, of each row in repeated_sightings. A notice is a row of reorgs that counts, that is no copy. A verdict of the chain on
-- a block is a row of chain_block, on one event a row of chain_absent (0011). All that follows is a function of these sets, and of nothing else:
-- the order in which workers handle entries does not matter.
--
-- State of a block in a stream (block_state). The notices with fork_block <= its number cut the stream into epochs. A block that is seen in
-- consecutive epochs is announced in the first, is a straggler in the second, is announced again in the third, and so on. It is live if the run
-- of epochs that ends with the last one has odd length. Example: seen, notice, seen, notice, seen: three epochs in a row, live. A verdict stands
-- in every stream at its position there, in place of all before it; while no notice behind it reaches the block, it is the block's state. Rows that
-- came from the chain are sightings in a stream of their own, `chain`: their state is that of the verdict, and false once a notice has ended it.
--
-- Place of an event (event_verdict). A version is an event in one block. It is live if its block is live in a stream in which it was seen there.
-- Of the live versions of one (transaction, log index) the one with the latest sighting stands in its event table; of several in one entry the
-- first. All other versions stand in orphaned_events.
--
-- Locks. A batch holds the event lock shared to its commit. It adds sightings in the last epoch of blocks that are live, or new (event_guard):
-- these change the state of no block. Whatever else it brings, a notice and a verdict take the lock exclusively, add to the sets (event_note,
-- reorg_take, chain_settle), and then move rows between the tables (event_settle). Nothing else moves rows.
--
-- Functions that take arrays are planned once, by key: planning costs more than a small batch, and a plan that was made while the tables were
-- empty must not read them whole when they are large. Joins of two such sets are hashed (IN) or looked up (LATERAL … OFFSET 0): the planner
-- takes each set for a few rows, and would compare each row with each.

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
CREATE INDEX ON reorgs (fork_block) WHERE counts;
CREATE INDEX ON reorgs (stream_ms) WHERE counts;

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
DO $make$
BEGIN
        EXECUTE 'CREATE VIEW event_standing AS ' || (SELECT string_agg(format('SELECT %1$L::text COLLATE "C" AS source_table, transaction_hash, log_index,
                        block_number, block_hash, address, stream, stream_ms, stream_seq, %2$s COLLATE "C" AS term_id, %3$s COLLATE "C" AS counter_term_id,
                        %4$s COLLATE "C" AS curve_id, %5$s COLLATE "C" AS account_id, to_jsonb(t) AS event_row FROM %1$I t',
                        name, term, counter, curve, account), ' UNION ALL ')
                FROM (VALUES ('atom_created_events', 'term_id', 'NULL::text', 'NULL::text', 'NULL::text'),
                        ('triple_created_events', 'term_id', 'counter_term_id', 'NULL::text', 'NULL::text'),
                        ('deposited_events', 'term_id', 'NULL::text', 'curve_id', 'receiver'),
                        ('redeemed_events', 'term_id', 'NULL::text', 'curve_id', 'receiver'),
                        ('share_price_changed_events', 'term_id', 'NULL::text', 'curve_id', 'NULL::text'),
                        ('generic_events', 'NULL::text', 'NULL::text', 'NULL::text', 'NULL::text')) e (name, term, counter, curve, account));
END $make$;

-- stands: true in an event table, false in orphaned_events, NULL where it is only one more position.
CREATE VIEW event_sighting AS
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, term_id, counter_term_id, curve_id,
        account_id, NULL::bigint AS place, true AS stands
FROM event_standing
UNION ALL
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq,
        event_row ->> 'term_id', event_row ->> 'counter_term_id', event_row ->> 'curve_id', event_row ->> 'receiver', NULL, false
FROM orphaned_events WHERE reason <> 'not in stream'
UNION ALL
SELECT source_table, transaction_hash, log_index, block_number, block_hash, stream, stream_ms, stream_seq, NULL, NULL, NULL, NULL, place, NULL
FROM repeated_sightings;

-- The state of blocks in each stream in which they were seen, or (streams) in one stream each.
CREATE FUNCTION block_state(numbers BIGINT[], hashes TEXT[], streams TEXT[] DEFAULT NULL)
RETURNS TABLE (stream TEXT, block_number BIGINT, block_hash TEXT, live BOOLEAN) LANGUAGE sql STABLE AS $$
        WITH sighting AS MATERIALIZED ( -- each position once, with the verdict on its block
                SELECT s.*, c.live AS ruled, c.stream_ms AS ruled_ms, coalesce(p.stream_ms, c.stream_ms) AS from_ms, coalesce(p.stream_seq, -1) AS from_seq
                FROM (SELECT DISTINCT e.stream, e.block_number, e.block_hash, e.stream_ms, e.stream_seq
                        FROM (SELECT DISTINCT * FROM unnest(numbers, hashes, streams)) u (n, h, s) -- callers give a block for each of its events
                        CROSS JOIN LATERAL (SELECT * FROM event_sighting x
                                WHERE x.block_number = u.n AND x.block_hash = u.h AND (u.s IS NULL OR x.stream = u.s) OFFSET 0) e) s
                LEFT JOIN LATERAL (SELECT * FROM chain_block x
                        WHERE x.block_number = s.block_number AND x.block_hash = s.block_hash OFFSET 0) c ON true
                LEFT JOIN LATERAL (SELECT * FROM chain_position x WHERE x.moment = c.stream_ms AND x.stream = s.stream OFFSET 0) p ON true
        ), seen AS MATERIALIZED ( -- what a verdict leaves: what stands behind it, and itself
                SELECT s.stream, s.block_number, s.block_hash, s.stream_ms, s.stream_seq FROM sighting s
                WHERE s.ruled_ms IS NULL OR (s.stream_ms, s.stream_seq) > (s.from_ms, s.from_seq)
                UNION
                SELECT s.stream, s.block_number, s.block_hash, s.from_ms, s.from_seq FROM sighting s WHERE s.ruled
        ), behind AS MATERIALIZED ( -- each with the lowest fork block of the notices behind it, and the next one of its block
                SELECT b.*, coalesce(b.lowest <= b.block_number, false) AS reached, lead(b.stream_ms) OVER w AS next_ms, lead(b.stream_seq) OVER w AS next_seq
                FROM (SELECT u.*, min(u.fork_block) OVER (PARTITION BY u.stream
                                ORDER BY u.stream_ms DESC, u.stream_seq DESC, u.fork_block NULLS FIRST) AS lowest -- a verdict may stand at a notice's id
                        FROM (SELECT s.*, NULL::bigint AS fork_block FROM seen s
                                UNION ALL
                                SELECT n.stream, NULL, NULL, n.stream_ms, n.stream_seq, n.fork_block FROM reorgs n
                                WHERE n.counts AND n.stream_ms >= (SELECT min(s.stream_ms) FROM seen s)) u) b
                WHERE b.block_number IS NOT NULL
                WINDOW w AS (PARTITION BY b.stream, b.block_number, b.block_hash ORDER BY b.stream_ms, b.stream_seq)
        ), step AS MATERIALIZED ( -- how many notices cut between it and the next one: none, one, or more (2)
                SELECT b.*, CASE WHEN b.reached AND b.next_ms IS NOT NULL THEN (
                        SELECT count(*) FROM (SELECT FROM reorgs n
                                WHERE n.counts AND n.stream = b.stream AND n.fork_block <= b.block_number
                                        AND (n.stream_ms, n.stream_seq) > (b.stream_ms, b.stream_seq)
                                        AND (n.stream_ms, n.stream_seq) < (b.next_ms, b.next_seq) LIMIT 2) two)
                        ELSE 0 END AS cuts
                FROM behind b
        ), law AS MATERIALIZED ( -- of the last run of epochs: whether a notice is behind it, and whether its length is odd
                SELECT r.stream, r.block_number, r.block_hash, NULL::boolean AS ruled, NULL::bigint AS ruled_ms,
                        NOT bool_or(r.reached AND r.next_ms IS NULL) AND count(*) FILTER (WHERE r.cuts = 1 AND r.breaks = 0) % 2 = 0 AS live
                FROM (SELECT s.*, count(*) FILTER (WHERE s.cuts = 2) OVER (PARTITION BY s.stream, s.block_number, s.block_hash
                        ORDER BY s.stream_ms DESC, s.stream_seq DESC) AS breaks FROM step s) r
                GROUP BY r.stream, r.block_number, r.block_hash
        ), block AS MATERIALIZED (
                SELECT l.stream, l.block_number, l.block_hash, bool_or(l.ruled) AS ruled, max(l.ruled_ms) AS ruled_ms, bool_or(l.live) AS live
                FROM (SELECT * FROM law
                        UNION ALL
                        SELECT s.stream, s.block_number, s.block_hash, s.ruled, s.ruled_ms, NULL FROM sighting s) l
                GROUP BY l.stream, l.block_number, l.block_hash
        ), notice AS MATERIALIZED ( -- those that may stand behind a verdict
                SELECT n.stream, n.stream_ms, n.stream_seq, n.fork_block FROM reorgs n
                WHERE n.counts AND n.stream_ms >= (SELECT min(least(b.ruled_ms, (SELECT min(p.stream_ms) FROM chain_position p)))
                        FROM block b WHERE b.ruled_ms IS NOT NULL)
        ), place AS ( -- of each verdict in each of their streams
                SELECT m.ruled_ms, n.stream, coalesce(p.stream_ms, m.ruled_ms) AS stream_ms, coalesce(p.stream_seq, -1) AS stream_seq
                FROM (SELECT DISTINCT b.ruled_ms FROM block b WHERE b.ruled_ms IS NOT NULL) m CROSS JOIN (SELECT DISTINCT stream FROM notice) n
                LEFT JOIN LATERAL (SELECT * FROM chain_position x WHERE x.moment = m.ruled_ms AND x.stream = n.stream OFFSET 0) p ON true
        ), reach AS ( -- and how low the notices of the stream behind it reach
                SELECT u.ruled_ms, min(u.fork_block) OVER (PARTITION BY u.stream
                        ORDER BY u.stream_ms DESC, u.stream_seq DESC, u.fork_block NULLS FIRST) AS lowest
                FROM (SELECT p.*, NULL::bigint AS fork_block FROM place p UNION ALL SELECT NULL, n.* FROM notice n) u
        )
        SELECT v.stream, v.block_number, v.block_hash,
                CASE WHEN v.ruled_ms IS NOT NULL AND (v.lowest <= v.block_number) IS NOT TRUE THEN v.ruled
                        WHEN v.stream = 'chain' THEN false ELSE coalesce(v.live, false) END
        FROM (SELECT u.*, min(u.reached) OVER (PARTITION BY u.ruled_ms) AS lowest
                FROM (SELECT b.*, NULL::bigint AS reached FROM block b
                        UNION ALL
                        SELECT NULL, NULL, NULL, NULL, r.ruled_ms, NULL, r.lowest FROM reach r WHERE r.ruled_ms IS NOT NULL) u) v
        WHERE v.block_number IS NOT NULL
$$;

-- A session that waits for the lock for ten seconds ends the sessions that hold it and have waited for their client for half a minute, in COPY or
-- between two statements: the client is frozen, or the network swallows its packets, and no timeout of PostgreSQL fires in COPY. What it did is
-- rolled back, and its entries are still pending. Where the caller has set a lock_timeout of its own, the lock fails after that.
CREATE FUNCTION event_lock_patience() RETURNS INTERVAL LANGUAGE sql IMMUTABLE AS $$ SELECT interval '30 seconds' $$;

CREATE FUNCTION event_lock(exclusively BOOLEAN) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
        name CONSTANT INT := hashtext('events');
        place CONSTANT INT := 'reorgs'::regclass::oid::int; -- pipelines in two schemas do not share it
        timeout CONSTANT TEXT := current_setting('lock_timeout');
BEGIN
        IF NOT exclusively AND pg_try_advisory_xact_lock_shared(name, place) THEN
                RETURN;
        END IF;
        LOOP
                BEGIN
                        IF timeout = '0' THEN
                                PERFORM set_config('lock_timeout', '10s', true);
                        END IF;
                        IF exclusively THEN
                                PERFORM pg_advisory_xact_lock(name, place);
                        ELSE
                                PERFORM pg_advisory_xact_lock_shared(name, place);
                        END IF;
                        PERFORM set_config('lock_timeout', timeout, true);
                        RETURN;
                EXCEPTION WHEN lock_not_available THEN
                        IF timeout <> '0' THEN
                                RAISE;
                        END IF;
                        PERFORM pg_stat_clear_snapshot();
                        PERFORM pg_terminate_backend(a.pid)
                        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                        WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint, l.objid::bigint)
                                        = (name::bigint & 4294967295, place::bigint & 4294967295) AND a.datname = current_database()
                                AND a.pid <> pg_backend_pid() AND a.usename = current_user AND a.wait_event = 'ClientRead'
                                AND a.state_change < clock_timestamp() - event_lock_patience();
                END;
        END LOOP;
END $$;

-- Raises RO001 unless a batch of new sightings is plain: whatever other plain batches, unseen by this one, bring at the same time, it changes the
-- state of no block. Plain are sightings in the last epoch of blocks that are live, or new. (Of others two may each leave a block live and
-- together not: one fills epoch k-1, the other k-3.)
CREATE FUNCTION event_guard(streams TEXT[], numbers BIGINT[], hashes TEXT[], ms BIGINT[], seq BIGINT[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        -- any stream's notices: an event may stand in two streams, orphaned in one and live in the other
        lowest CONSTANT BIGINT := (SELECT min(n.fork_block) FROM reorgs n WHERE n.counts);
        latest CONSTANT BIGINT := (SELECT max(n.stream_ms) FROM reorgs n WHERE n.counts);
BEGIN
        IF (EXISTS (SELECT FROM chain_block) OR EXISTS (SELECT FROM chain_absent)) AND EXISTS (
                SELECT FROM (SELECT DISTINCT u.b, u.h FROM unnest(numbers, hashes) u (b, h)) e
                WHERE EXISTS (SELECT FROM chain_block c WHERE c.block_number = e.b AND c.block_hash = e.h AND NOT c.live OFFSET 0)
                        OR EXISTS (SELECT FROM chain_absent a WHERE a.block_number = e.b AND a.block_hash = e.h OFFSET 0)) THEN
                RAISE EXCEPTION 'the chain has ruled on a block' USING ERRCODE = 'RO001';
        END IF;
        -- Nearly all batches: no notice reaches the blocks, or all that was seen and said of them is behind the last one. In statements of their own,
        -- for preparing to run the last one takes longer than a small batch.
        IF lowest IS NULL OR lowest > (SELECT max(b) FROM unnest(numbers) b) THEN
                RETURN;
        END IF;
        IF latest < (SELECT min(m) FROM unnest(ms) m) AND NOT EXISTS (
                SELECT FROM (SELECT DISTINCT u.b, u.h FROM unnest(numbers, hashes) u (b, h)) e
                CROSS JOIN LATERAL (SELECT x.stream_ms FROM event_sighting x WHERE x.block_number = e.b AND x.block_hash = e.h
                        UNION ALL SELECT c.stream_ms FROM chain_block c WHERE c.block_number = e.b AND c.block_hash = e.h OFFSET 0) s
                WHERE s.stream_ms <= latest) THEN
                RETURN;
        END IF;
        IF EXISTS (SELECT FROM (SELECT u.b, min(u.fork_block) OVER (PARTITION BY u.s ORDER BY u.m DESC, u.q DESC) AS behind
                        FROM (SELECT e.*, NULL::bigint AS fork_block FROM unnest(streams, numbers, ms, seq) e (s, b, m, q)
                                UNION ALL
                                SELECT n.stream, NULL, n.stream_ms, n.stream_seq, n.fork_block FROM reorgs n
                                WHERE n.counts AND n.stream_ms >= (SELECT min(m) FROM unnest(ms) m)) u) v
                WHERE v.behind <= v.b)
                OR EXISTS (SELECT FROM (SELECT array_agg(u.b) AS b, array_agg(u.h) AS h
                                FROM (SELECT DISTINCT d.b, d.h FROM unnest(numbers, hashes) d (b, h) WHERE d.b >= lowest) u) reached
                        CROSS JOIN LATERAL block_state(reached.b, reached.h) s WHERE NOT s.live) THEN
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

-- Every version of the events seen in the given blocks, or (streams) in these blocks in one stream each: is it live, is it the one that stands
-- (wins), where is it now (stands, apart), and its keys and the stream of its row. Left out are events that stand in a live block and were seen
-- there only: they are where they belong.
CREATE FUNCTION event_verdict(numbers BIGINT[], hashes TEXT[], streams TEXT[] DEFAULT NULL)
RETURNS TABLE (source_table TEXT, transaction_hash TEXT, log_index BIGINT, block_hash TEXT, live BOOLEAN, wins BOOLEAN, stands BOOLEAN, apart BOOLEAN,
        term_id TEXT, curve_id TEXT, account_id TEXT, block_number BIGINT, stream TEXT) LANGUAGE sql STABLE AS $$
        WITH state AS MATERIALIZED (
                SELECT * FROM block_state(numbers, hashes, streams)
        ), key AS MATERIALIZED (
                SELECT DISTINCT s.source_table, s.transaction_hash, s.log_index
                FROM (SELECT DISTINCT * FROM unnest(numbers, hashes, streams)) u (n, h, s)
                CROSS JOIN LATERAL (SELECT * FROM event_sighting x
                        WHERE x.block_number = u.n AND x.block_hash = u.h AND (u.s IS NULL OR x.stream = u.s) OFFSET 0) s
                WHERE s.stands IS NOT TRUE
                        OR (s.stream, s.block_number, s.block_hash) IN (SELECT d.stream, d.block_number, d.block_hash FROM state d WHERE NOT d.live)
                        OR (s.block_number, s.block_hash) IN (SELECT a.block_number, a.block_hash FROM chain_absent a WHERE a.block_number = ANY (numbers))
        ), version AS MATERIALIZED (
                SELECT v.*, EXISTS (SELECT FROM chain_absent a WHERE (a.source_table, a.transaction_hash, a.log_index, a.block_hash)
                        = (v.source_table, v.transaction_hash, v.log_index, v.block_hash)) AS absent
                FROM key k CROSS JOIN LATERAL (
                        SELECT * FROM event_sighting s WHERE s.source_table = k.source_table
                                AND s.transaction_hash = k.transaction_hash AND s.log_index = k.log_index OFFSET 0) v
        ), elsewhere AS MATERIALIZED ( -- other blocks, and streams, in which they were seen
                SELECT array_agg(v.block_number) AS numbers, array_agg(v.block_hash) AS hashes, array_agg(v.stream) AS streams
                FROM (SELECT DISTINCT block_number, block_hash, stream FROM version) v
                WHERE (v.stream, v.block_number, v.block_hash) NOT IN (SELECT s.stream, s.block_number, s.block_hash FROM state s)
        ), alive AS MATERIALIZED (
                SELECT s.stream, s.block_number, s.block_hash FROM state s WHERE s.live
                UNION ALL
                SELECT s.stream, s.block_number, s.block_hash FROM elsewhere e CROSS JOIN LATERAL block_state(e.numbers, e.hashes, e.streams) s WHERE s.live
        ), judged AS (
                SELECT j.*, array_agg(j.stream_ms) FILTER (WHERE j.live AND j.stream = 'chain') OVER (
                        PARTITION BY j.source_table, j.transaction_hash, j.log_index) AS moments
                FROM (SELECT v.*, NOT v.absent AND (v.stream, v.block_number, v.block_hash) IN (SELECT * FROM alive) AS live FROM version v) j
        ), ranked AS ( -- what stands behind a moment, by its position in the stream at hand, is later than its row
                SELECT j.*, first_value(j.block_hash) OVER (PARTITION BY j.source_table, j.transaction_hash, j.log_index ORDER BY j.live DESC,
                        j.moment DESC NULLS LAST, j.stream = 'chain', j.stream_ms DESC, j.stream_seq DESC, j.stream DESC, j.place, j.block_hash) AS winner
                FROM (SELECT g.*, (
                                SELECT max(m) FROM unnest(g.moments) m
                                LEFT JOIN LATERAL (SELECT * FROM chain_position x WHERE x.moment = m AND x.stream = g.stream OFFSET 0) p ON true
                                WHERE (g.stream_ms, g.stream_seq) > (coalesce(p.stream_ms, m), coalesce(p.stream_seq, -1))) AS moment
                        FROM judged g) j
        )
        SELECT r.source_table, r.transaction_hash, r.log_index, r.block_hash, bool_or(r.live), bool_or(r.live) AND r.block_hash = min(r.winner),
                coalesce(bool_or(r.stands), false), coalesce(bool_or(NOT r.stands), false), max(r.term_id), max(r.curve_id), max(r.account_id), max(r.block_number),
                max(r.stream) FILTER (WHERE r.stands IS NOT NULL)
        FROM ranked r GROUP BY r.source_table, r.transaction_hash, r.log_index, r.block_hash
$$;

-- Under the exclusive lock: brings the events of the given blocks to where they belong. Returns how many rows moved.
CREATE FUNCTION event_settle(numbers BIGINT[], hashes TEXT[], streams TEXT[] DEFAULT NULL) RETURNS BIGINT LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        name TEXT;
        added RECORD;
        moved BIGINT := 0;
        step BIGINT;
BEGIN
        CREATE TEMP TABLE IF NOT EXISTS event_version (source_table TEXT COLLATE "C", transaction_hash TEXT COLLATE "C", log_index BIGINT,
                block_hash TEXT COLLATE "C", live BOOLEAN, wins BOOLEAN, stands BOOLEAN, apart BOOLEAN, term_id TEXT COLLATE "C", curve_id TEXT COLLATE "C",
                account_id TEXT COLLATE "C", reason TEXT COLLATE "C", notice JSONB) ON COMMIT DELETE ROWS;
        DELETE FROM event_version;
        -- with the reason for those that stay away: the last notice that reaches it in its stream; where there is none, the chain has ruled
        INSERT INTO event_version
        SELECT v.source_table, v.transaction_hash, v.log_index, v.block_hash, v.live, v.wins, v.stands, v.apart, v.term_id, v.curve_id, v.account_id,
                CASE WHEN v.live THEN 'superseded' WHEN n.notice IS NULL THEN 'not on chain' ELSE 'reorg' END, n.notice
        FROM event_verdict(numbers, hashes, streams) v
        LEFT JOIN LATERAL (
                SELECT r.notice FROM reorgs r
                WHERE NOT v.live AND r.counts AND (r.stream = v.stream OR v.stream = 'chain') AND r.fork_block <= v.block_number
                        AND NOT EXISTS (SELECT FROM chain_block c LEFT JOIN chain_position p ON p.moment = c.stream_ms AND p.stream = r.stream
                                WHERE (c.block_number, c.block_hash) = (v.block_number, v.block_hash) AND NOT c.live
                                        AND (r.stream_ms, r.stream_seq) <= (coalesce(p.stream_ms, c.stream_ms), coalesce(p.stream_seq, -1)))
                        AND NOT EXISTS (SELECT FROM chain_absent a WHERE (a.source_table, a.transaction_hash, a.log_index, a.block_hash)
                                = (v.source_table, v.transaction_hash, v.log_index, v.block_hash))
                ORDER BY r.stream_ms DESC, r.stream_seq DESC LIMIT 1) n ON true;

        -- The triggers rest meanwhile: what moved is made anew once, at the end. So an atom whose event moves to another block stays, and so does
        -- what others write to it meanwhile.
        PERFORM set_config('events.settling', 'true', true);
        FOREACH name IN ARRAY event_tables() LOOP
                CONTINUE WHEN NOT EXISTS (SELECT FROM event_version v WHERE v.source_table = name);
                EXECUTE format('WITH gone AS (
                                DELETE FROM %1$I t USING event_version v
                                WHERE v.source_table = %1$L AND v.stands AND NOT v.wins AND v.transaction_hash = t.transaction_hash
                                        AND v.log_index = t.log_index AND v.block_hash = t.block_hash
                                RETURNING t.transaction_hash, t.log_index, t.block_hash, t.block_number, to_jsonb(t), t.stream, t.stream_ms, t.stream_seq,
                                        v.reason, v.notice)
                        INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                stream, stream_ms, stream_seq, reason, notice)
                        SELECT %1$L, gone.* FROM gone
                        -- it stood there as one that no stream held, and came again
                        ON CONFLICT (source_table, transaction_hash, log_index, block_hash) DO UPDATE SET event_row = excluded.event_row,
                                stream = excluded.stream, stream_ms = excluded.stream_ms, stream_seq = excluded.stream_seq, reason = excluded.reason,
                                notice = excluded.notice', name);
                GET DIAGNOSTICS step = ROW_COUNT;
                moved := moved + step;
                added := event_added(name);
                EXECUTE format('WITH back AS (
                                DELETE FROM orphaned_events o USING event_version v
                                WHERE o.source_table = %1$L AND v.source_table = %1$L AND v.wins AND v.apart AND v.transaction_hash = o.transaction_hash
                                        AND v.log_index = o.log_index AND v.block_hash = o.block_hash
                                        AND o.reason <> ''not in stream'' -- what no stream held is not what stands
                                RETURNING o.*)
                        INSERT INTO %1$I (%2$s, created_at%3$s)
                        SELECT %4$s, r.created_at%5$s
                        FROM back CROSS JOIN LATERAL jsonb_populate_record(NULL::%1$I, back.event_row) r
                        ORDER BY r.transaction_hash, r.log_index
                        ON CONFLICT (transaction_hash, log_index) DO NOTHING -- it stands already: one of the two was too much',
                        name, event_columns(name), added.columns, 'r.' || replace(event_columns(name), ', ', ', r.'), added.selected);
                GET DIAGNOSTICS step = ROW_COUNT;
                moved := moved + step;
        END LOOP;
        PERFORM set_config('events.settling', '', true);
        PERFORM position_recompute(array_agg(v.account_id), array_agg(v.term_id), array_agg(v.curve_id), true)
        FROM event_version v WHERE v.account_id IS NOT NULL AND v.wins <> v.stands HAVING count(*) > 0;
        PERFORM vault_recompute(array_agg(v.term_id), array_agg(v.curve_id))
        FROM event_version v WHERE v.curve_id IS NOT NULL AND v.wins <> v.stands HAVING count(*) > 0;
        PERFORM CASE v.source_table WHEN 'atom_created_events' THEN atom_recompute(array_agg(DISTINCT v.term_id))
                ELSE triple_recompute(array_agg(DISTINCT v.term_id)) END
        FROM event_version v WHERE v.source_table IN ('atom_created_events', 'triple_created_events') AND v.wins <> v.stands GROUP BY v.source_table;
        -- what was away before, and stays, may have another reason now
        UPDATE orphaned_events o SET reason = w.reason, notice = w.notice
        FROM (
                SELECT x.ctid AS place, v.reason, v.notice
                FROM event_version v
                CROSS JOIN LATERAL (SELECT y.ctid, y.reason, y.notice FROM orphaned_events y WHERE y.source_table = v.source_table
                        AND y.transaction_hash = v.transaction_hash AND y.log_index = v.log_index AND y.block_hash = v.block_hash OFFSET 0) x
                WHERE v.apart AND NOT v.wins AND (x.reason, x.notice) IS DISTINCT FROM (v.reason, v.notice)
        ) w
        WHERE o.ctid = w.place;
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
                SELECT DISTINCT s.source_table AS t, s.transaction_hash AS x, s.log_index AS i
                FROM unnest(reached_numbers, reached_hashes) u (n, h)
                CROSS JOIN LATERAL (SELECT * FROM event_sighting e WHERE e.block_number = u.n AND e.block_hash = u.h OFFSET 0) s
        )
        SELECT u.id, v.curve_id, max(v.block_number), 0::bigint
        FROM key k CROSS JOIN LATERAL (SELECT * FROM event_sighting e -- by key, however few rows the planner takes the tables to have
                WHERE e.source_table = k.t AND e.transaction_hash = k.x AND e.log_index = k.i OFFSET 0) v
        CROSS JOIN LATERAL (VALUES (v.term_id), (v.counter_term_id)) u (id)
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

        -- of several versions in one entry the first one stands: the caller gives the places of these
        INSERT INTO repeated_sightings AS r
        SELECT e.t, e.x, e.i, e.h, min(e.b), e.s, e.m, e.q, min(e.p)
        FROM unnest(tables, transactions, indexes, blocks, block_hashes, streams, ms, seq, places) e (t, x, i, b, h, s, m, q, p)
        WHERE e.p IS NOT NULL
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

-- Of a stream's notices with equal network, fork block and depth: those within window_ms of the first are copies of it, the next leads again.
CREATE FUNCTION reorg_leads(stream_ TEXT, network_ TEXT, fork BIGINT, depth_ BIGINT, window_ms BIGINT)
RETURNS TABLE (stream_ms BIGINT, stream_seq BIGINT, counts BOOLEAN, leads BOOLEAN) LANGUAGE plpgsql AS $$
DECLARE
        first_ms BIGINT;
BEGIN
        FOR stream_ms, stream_seq, counts IN SELECT r.stream_ms, r.stream_seq, r.counts FROM reorgs r
                WHERE r.stream = stream_ AND r.network = network_ AND r.fork_block = fork AND r.depth = depth_
                ORDER BY r.stream_ms, r.stream_seq LOOP
                leads := first_ms IS NULL OR stream_ms - first_ms > window_ms;
                IF leads THEN
                        first_ms := stream_ms;
                END IF;
                RETURN NEXT;
        END LOOP;
END $$;

-- A notice, under the exclusive lock. again: it was delivered before. No row at all: it is of another network than the one pinned.
CREATE FUNCTION reorg_take(stream_ TEXT, ms BIGINT, seq BIGINT, network_ TEXT, fork BIGINT, depth_ BIGINT, notice_ JSONB, window_ms BIGINT,
        again BOOLEAN)
RETURNS TABLE (term_id TEXT, curve_id TEXT, block_number BIGINT, moved_rows BIGINT) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
        changed BOOLEAN;
        numbers BIGINT[];
        hashes TEXT[];
        streams TEXT[];
BEGIN
        IF EXISTS (SELECT FROM pinned_network p WHERE p.network <> network_) THEN
                RETURN; -- pinned since the notice was decoded
        END IF;
        INSERT INTO reorgs (stream, stream_ms, stream_seq, network, fork_block, depth, notice)
        VALUES (stream_, ms, seq, network_, fork, depth_, notice_) ON CONFLICT DO NOTHING;
        IF FOUND THEN
                UPDATE chain_state SET notice_fork = least(notice_fork, fork), notices = notices + 1;
        END IF;
        UPDATE reorgs r SET counts = l.leads FROM reorg_leads(stream_, network_, fork, depth_, window_ms) l
        WHERE (r.stream, r.stream_ms, r.stream_seq) = (stream_, l.stream_ms, l.stream_seq) AND l.leads <> l.counts;
        changed := FOUND;
        IF changed OR again THEN
                SELECT array_agg(b.block_number), array_agg(b.block_hash), array_agg(b.stream) INTO numbers, hashes, streams
                FROM (SELECT s.block_number, s.block_hash, s.stream FROM event_sighting s WHERE s.block_number >= fork AND s.stream = stream_
                        UNION -- it ends the chain's verdicts, whatever streams their blocks were seen in
                        SELECT c.block_number, c.block_hash, NULL FROM chain_block c WHERE c.block_number >= fork) b;
        END IF;
        RETURN QUERY SELECT * FROM event_touched(CASE WHEN changed AND numbers IS NOT NULL THEN event_settle(numbers, hashes, streams) ELSE 0 END);
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
        WHERE v.wins <> v.stands OR v.wins AND v.apart
$$;

-- What others added to an atom (label, image …) outlives the atom: a reorg that takes it away and brings it back brings that back, too.
CREATE TABLE atom_enrichment (
        term_id TEXT COLLATE "C" PRIMARY KEY,
        type TEXT, emoji TEXT, label TEXT, image TEXT, value_id TEXT, resolving_status TEXT NOT NULL
);

-- Pins the network, where none is, for all and for good. Notices that came before it was known and are another's never counted. Under the
-- exclusive lock: it waits for a notice that is being recorded, or that one would stay.
CREATE FUNCTION network_pin(network_ TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
        IF EXISTS (SELECT FROM pinned_network) THEN
                RETURN;
        END IF;
        PERFORM event_lock(true);
        INSERT INTO pinned_network (network) VALUES (network_) ON CONFLICT (only_row) DO NOTHING;
        IF FOUND THEN
                DELETE FROM reorgs r WHERE r.network <> network_;
        END IF;
END $$;
