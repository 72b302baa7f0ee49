-- Level 3: the triple-level tables, kept by analytics.

CREATE TABLE triple_vault (
        term_id TEXT COLLATE "C" NOT NULL,
        counter_term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        total_shares NUMERIC NOT NULL,
        total_assets NUMERIC NOT NULL,
        position_count BIGINT NOT NULL,
        market_cap NUMERIC NOT NULL,
        PRIMARY KEY (term_id, counter_term_id, curve_id)
) WITH (fillfactor = 50);
CREATE INDEX ON triple_vault (counter_term_id);

-- counted_* is the pair under which this row stands in predicate_object and subject_predicate, NULL while it does not: those two move by
-- the difference between a row's old and new state, whatever became of the triple in between. The row is also the lock of its triple.
CREATE TABLE triple_term (
        term_id TEXT COLLATE "C" NOT NULL,
        counter_term_id TEXT COLLATE "C" NOT NULL,
        total_assets NUMERIC NOT NULL DEFAULT 0,
        total_market_cap NUMERIC NOT NULL DEFAULT 0,
        total_position_count BIGINT NOT NULL DEFAULT 0,
        counted_subject_id TEXT COLLATE "C",
        counted_predicate_id TEXT COLLATE "C",
        counted_object_id TEXT COLLATE "C",
        PRIMARY KEY (term_id, counter_term_id)
) WITH (fillfactor = 50);
CREATE INDEX ON triple_term (counter_term_id);
CREATE INDEX ON triple_term (total_market_cap);

CREATE TABLE predicate_object (
        predicate_id TEXT COLLATE "C" NOT NULL,
        object_id TEXT COLLATE "C" NOT NULL,
        triple_count BIGINT NOT NULL,
        total_position_count BIGINT NOT NULL,
        total_market_cap NUMERIC NOT NULL,
        PRIMARY KEY (predicate_id, object_id)
) WITH (fillfactor = 50);
CREATE INDEX ON predicate_object (object_id);
CREATE INDEX predicate_object_empty ON predicate_object (triple_count) WHERE triple_count = 0;

CREATE TABLE subject_predicate (
        subject_id TEXT COLLATE "C" NOT NULL,
        predicate_id TEXT COLLATE "C" NOT NULL,
        triple_count BIGINT NOT NULL,
        total_position_count BIGINT NOT NULL,
        total_market_cap NUMERIC NOT NULL,
        PRIMARY KEY (subject_id, predicate_id)
) WITH (fillfactor = 50);
CREATE INDEX ON subject_predicate (predicate_id);
CREATE INDEX subject_predicate_empty ON subject_predicate (triple_count) WHERE triple_count = 0;

CREATE VIEW triple_vault_expected AS
SELECT t.term_id, t.counter_term_id, v.curve_id, sum(v.total_shares) AS total_shares, sum(v.total_assets) AS total_assets,
        sum(v.position_count)::bigint AS position_count, sum(v.market_cap) AS market_cap
FROM triple t
CROSS JOIN LATERAL (VALUES (t.term_id), (t.counter_term_id)) side(id)
JOIN vault v ON v.term_id = side.id AND v.first_event_block IS NOT NULL
GROUP BY t.term_id, t.counter_term_id, v.curve_id;

CREATE VIEW triple_term_expected AS
SELECT t.term_id, t.counter_term_id,
        t.subject_id AS counted_subject_id, t.predicate_id AS counted_predicate_id, t.object_id AS counted_object_id,
        coalesce(sum(v.total_assets), 0) AS total_assets, coalesce(sum(v.market_cap), 0) AS total_market_cap,
        coalesce(sum(v.position_count), 0)::bigint AS total_position_count
FROM triple t
CROSS JOIN LATERAL (VALUES (t.term_id), (t.counter_term_id)) side(id)
LEFT JOIN vault v ON v.term_id = side.id AND v.first_event_block IS NOT NULL
GROUP BY t.term_id;

CREATE VIEW predicate_object_expected AS
SELECT counted_predicate_id AS predicate_id, counted_object_id AS object_id, count(*) AS triple_count,
        sum(total_position_count)::bigint AS total_position_count, sum(total_market_cap) AS total_market_cap
FROM triple_term_expected GROUP BY 1, 2;

CREATE VIEW subject_predicate_expected AS
SELECT counted_subject_id AS subject_id, counted_predicate_id AS predicate_id, count(*) AS triple_count,
        sum(total_position_count)::bigint AS total_position_count, sum(total_market_cap) AS total_market_cap
FROM triple_term_expected GROUP BY 1, 2;

-- What verify leaves out: triples one of whose terms an outbox names, and the pairs in which they count.
CREATE VIEW triple_waiting AS
WITH waiting AS MATERIALIZED (SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox)
SELECT term_id, counter_term_id, subject_id, predicate_id, object_id FROM triple
WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting)
UNION
SELECT term_id, counter_term_id, counted_subject_id, counted_predicate_id, counted_object_id FROM triple_term
WHERE term_id IN (SELECT * FROM waiting) OR counter_term_id IN (SELECT * FROM waiting);

-- For rebuild: a pair table anew from triple_term, the rows that move it. The lock keeps writers out, not readers; a transaction that has moved one
-- but not yet the other waits for it, and is not visible here.
CREATE FUNCTION pair_rebuild(name TEXT, first TEXT, second TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
        written BIGINT;
BEGIN
        EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', name);
        EXECUTE format('WITH expected AS MATERIALIZED (
                        SELECT counted_%2$s AS %2$s, counted_%3$s AS %3$s, count(*) AS triple_count, sum(total_position_count)::bigint AS positions,
                                sum(total_market_cap) AS market_cap
                        FROM triple_term WHERE counted_predicate_id IS NOT NULL GROUP BY 1, 2
                ), gone AS (
                        DELETE FROM %1$I WHERE (%2$s, %3$s) NOT IN (SELECT %2$s, %3$s FROM expected)
                )
                INSERT INTO %1$I AS p (%2$s, %3$s, triple_count, total_position_count, total_market_cap) SELECT * FROM expected
                ON CONFLICT (%2$s, %3$s) DO UPDATE SET (triple_count, total_position_count, total_market_cap)
                        = (excluded.triple_count, excluded.total_position_count, excluded.total_market_cap)
                WHERE (p.triple_count, p.total_position_count, p.total_market_cap)
                        IS DISTINCT FROM (excluded.triple_count, excluded.total_position_count, excluded.total_market_cap)', name, first, second);
        GET DIAGNOSTICS written = ROW_COUNT;
        RETURN written;
END $$;
