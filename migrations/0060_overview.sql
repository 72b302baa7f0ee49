-- What people look at: the last result of each verify, and the whole pipeline at a glance for the status page.

CREATE TABLE verify_result (
        program TEXT COLLATE "C" PRIMARY KEY,
        finished_at TIMESTAMPTZ NOT NULL,
        differences BIGINT NOT NULL,
        in_flight BIGINT NOT NULL, -- keys left out because work for them was under way
        sample BIGINT              -- of how many keys a table, NULL: all
);

-- The identity of this data: consumer groups carry it (common/stream/owner.h), so that no other database reads them.
CREATE TABLE pipeline_identity (
        only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
        id TEXT COLLATE "C" NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO pipeline_identity DEFAULT VALUES;

-- Where it is: a dump that is restored, or a copy, is elsewhere; a standby that takes over is not.
CREATE FUNCTION pipeline_place() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
        database CONSTANT TEXT := (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || quote_ident(current_schema())::regnamespace::oid;
BEGIN
        RETURN database || '/' || (SELECT system_identifier FROM pg_control_system());
EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN -- some managed servers
        RETURN database;
END $$;

CREATE FUNCTION pipeline_identity_get() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
        found CONSTANT TEXT := (SELECT id FROM pipeline_identity);
BEGIN
        IF found IS NULL THEN
                RAISE EXCEPTION 'the database has no identity (a copy without all of its rows?): run INSERT INTO pipeline_identity DEFAULT VALUES';
        END IF;
        RETURN found;
END $$;

-- Which streams each program reads, so that any of them can show the whole pipeline.
CREATE TABLE pipeline_stream (
        stream TEXT COLLATE "C" PRIMARY KEY,
        program TEXT COLLATE "C" NOT NULL,
        seen_at TIMESTAMPTZ NOT NULL
);

-- Who runs, and how it goes: each replica writes here every ten seconds, and when its breaker or readiness changes.
-- (XINFO CONSUMERS of Redis 7.0 does not know a consumer that waits for its first entry.)
CREATE TABLE pipeline_replica (
        program TEXT COLLATE "C" NOT NULL,
        name TEXT COLLATE "C" NOT NULL,
        version TEXT NOT NULL,
        seen_at TIMESTAMPTZ NOT NULL,
        breaker TEXT COLLATE "C" NOT NULL, -- Closed, HalfOpen or Open
        ready BOOLEAN NOT NULL,
        processed BIGINT NOT NULL,         -- events or keys since its start, as those that follow
        failed BIGINT NOT NULL,
        retries BIGINT NOT NULL,
        backfilled BIGINT NOT NULL,
        events_per_second DOUBLE PRECISION NOT NULL, -- between its last two notes
        delay_p50 DOUBLE PRECISION,        -- so many seconds at most from a batch's oldest entry to its commit, in the same time
        delay_p99 DOUBLE PRECISION,
        PRIMARY KEY (program, name)
);

-- Estimates and a few rows, no count(*): it is asked every few seconds where somebody looks. Ages in seconds.
CREATE FUNCTION pipeline_overview() RETURNS JSONB LANGUAGE sql STABLE AS $$
        SELECT jsonb_build_object(
                'tables', (SELECT jsonb_object_agg(s.relname, greatest(s.n_live_tup, c.reltuples::bigint, 0) ORDER BY s.relname)
                                || jsonb_build_object('orphaned_events', greatest(max(s.n_live_tup) FILTER (WHERE s.relname = 'orphaned_events'),
                                        (SELECT count(*) FROM (SELECT FROM orphaned_events LIMIT 10000) few))) -- no estimate where they are few
                        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid -- a crash empties the statistics
                        WHERE s.relid IN ('atom_created_events'::regclass, 'triple_created_events'::regclass, 'deposited_events'::regclass,
                                'redeemed_events'::regclass, 'share_price_changed_events'::regclass, 'generic_events'::regclass,
                                'orphaned_events'::regclass, 'atom'::regclass, 'triple'::regclass, 'position'::regclass, 'vault'::regclass,
                                'term'::regclass, 'triple_vault'::regclass, 'triple_term'::regclass, 'predicate_object'::regclass,
                                'subject_predicate'::regclass)),
                'reorgs', coalesce((SELECT jsonb_agg(to_jsonb(r) ORDER BY r.at DESC) FROM (
                        SELECT created_at AS at, stream, fork_block, depth FROM reorgs WHERE counts ORDER BY created_at DESC LIMIT 5) r), '[]'),
                'outbox', jsonb_build_object(
                        'cascade', (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM vault_outbox),
                        'analytics', (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM term_outbox)),
                'outbox_rows', jsonb_build_object(
                        'cascade', (SELECT count(*) FROM (SELECT FROM vault_outbox LIMIT 100000) o),
                        'analytics', (SELECT count(*) FROM (SELECT FROM term_outbox LIMIT 100000) o)),
                'verify', coalesce((SELECT jsonb_agg(to_jsonb(v) ORDER BY v.program) FROM verify_result v), '[]'),
                'streams', coalesce((SELECT jsonb_object_agg(p.stream, p.program ORDER BY p.stream) FROM pipeline_stream p
                        WHERE p.seen_at > now() - interval '1 day'), '{}'),
                'replicas', coalesce((SELECT jsonb_object_agg(r.program, r.count) FROM (
                        SELECT program, count(*) FROM pipeline_replica WHERE seen_at > now() - interval '30 seconds' GROUP BY program) r), '{}'),
                'programs', (SELECT jsonb_object_agg(p.program, to_jsonb(p) - 'program') FROM (
                        SELECT s.program, count(r.name) AS replicas, count(*) FILTER (WHERE r.ready) AS ready,
                                max(r.breaker) AS breaker, -- the worst, by their alphabet
                                coalesce(sum(r.processed), 0) AS processed, coalesce(sum(r.failed), 0) AS failed, coalesce(sum(r.retries), 0) AS retries,
                                coalesce(sum(r.backfilled), 0) AS backfilled, coalesce(sum(r.events_per_second), 0) AS events_per_second,
                                max(r.delay_p50) AS delay_p50, max(r.delay_p99) AS delay_p99
                        FROM (VALUES ('ingest'), ('cascade'), ('analytics')) s (program)
                        LEFT JOIN pipeline_replica r ON r.program = s.program AND r.seen_at > now() - interval '30 seconds'
                        GROUP BY s.program) p),
                'reconcile_trouble', (SELECT trouble FROM chain_state WHERE (trouble ->> 'at')::timestamptz > now() - interval '1 hour'), -- older: who knows?
                'replay_unfinished', EXISTS (SELECT FROM unfinished_replay))
$$;
