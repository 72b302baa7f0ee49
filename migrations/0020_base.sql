-- Level 1: atom, triple, position, vault, each a function of the set of its events.
--
-- Order of events: (block_number, log_index), ties between competing blocks broken by time and transaction hash, so that "latest" and
-- "first" never depend on the order of arrival. An event without block_timestamp counts at its created_at.
--
-- Three ways to the same row: the triggers add inserted events (the hot path, commutative), X_recompute makes it anew for given keys under
-- lock (reorgs, updates and deletes of events, rebuild), X_expected is the definition as a view (verify, and what X_recompute reads). enable_seqscan
-- is off where keys are looked up: a table that was vacuumed while it was empty is one page, to a plan that a session makes once.
-- Locks: positions by key, then vaults by key; atoms and triples stand alone.

CREATE TABLE atom (
        term_id TEXT COLLATE "C" PRIMARY KEY,
        wallet_id TEXT COLLATE "C" NOT NULL,
        creator_id TEXT COLLATE "C" NOT NULL,
        data TEXT,
        raw_data BYTEA,
        type TEXT,
        emoji TEXT,
        label TEXT,
        image TEXT,
        value_id TEXT,
        resolving_status TEXT NOT NULL DEFAULT 'Pending',
        last_event_block BIGINT NOT NULL,
        last_event_log_index BIGINT NOT NULL,
        last_event_transaction TEXT COLLATE "C" NOT NULL,
        first_event_block BIGINT NOT NULL,
        first_event_log_index BIGINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL,
        updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX ON atom (creator_id);
CREATE INDEX ON atom (wallet_id);

CREATE TABLE triple (
        term_id TEXT COLLATE "C" PRIMARY KEY,
        creator_id TEXT COLLATE "C" NOT NULL,
        subject_id TEXT COLLATE "C" NOT NULL,
        predicate_id TEXT COLLATE "C" NOT NULL,
        object_id TEXT COLLATE "C" NOT NULL,
        counter_term_id TEXT COLLATE "C" NOT NULL,
        last_event_block BIGINT NOT NULL,
        last_event_log_index BIGINT NOT NULL,
        last_event_transaction TEXT COLLATE "C" NOT NULL,
        first_event_block BIGINT NOT NULL,
        first_event_log_index BIGINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL,
        updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX ON triple (counter_term_id);
CREATE INDEX ON triple (creator_id);
CREATE INDEX ON triple (subject_id, predicate_id);
CREATE INDEX ON triple (predicate_id, object_id);
CREATE INDEX ON triple (object_id);

-- count_delta is what the row's last write added to its vault's number of holders: RETURNING hands it to the outbox without a second look.
-- fillfactor: positions and vaults are updated over and over, room in the page keeps those updates out of the indexes (HOT).
CREATE TABLE position (
        account_id TEXT COLLATE "C" NOT NULL,
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        shares NUMERIC NOT NULL DEFAULT 0,
        total_deposit_assets_after_total_fees NUMERIC NOT NULL DEFAULT 0,
        total_redeem_assets_for_receiver NUMERIC NOT NULL DEFAULT 0,
        last_event_block BIGINT NOT NULL,
        last_event_log_index BIGINT NOT NULL,
        last_event_transaction TEXT COLLATE "C" NOT NULL,
        first_is_deposit BOOLEAN NOT NULL,
        first_event_block BIGINT NOT NULL,
        first_event_log_index BIGINT NOT NULL,
        count_delta SMALLINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL,
        updated_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (account_id, term_id, curve_id)
) WITH (fillfactor = 80);
CREATE INDEX ON position (term_id, curve_id);

-- first_event_block is NULL where a reorg took the vault's last event: cascade folds what its outbox still holds and then deletes the row.
-- updated_at is the time of the latest price; of the first event where there is none. Deposits and redemptions leave a vault alone that is
-- there and of their type: hot vaults are what writers wait for.
CREATE TABLE vault (
        term_id TEXT COLLATE "C" NOT NULL,
        curve_id TEXT COLLATE "C" NOT NULL,
        total_shares NUMERIC NOT NULL DEFAULT 0,
        current_share_price NUMERIC NOT NULL DEFAULT 0,
        total_assets NUMERIC NOT NULL DEFAULT 0,
        market_cap NUMERIC NOT NULL DEFAULT 0,
        position_count BIGINT NOT NULL DEFAULT 0,
        vault_type TEXT COLLATE "C" NOT NULL,
        price_event_block BIGINT,
        price_event_log_index BIGINT,
        price_event_transaction TEXT COLLATE "C",
        first_event_block BIGINT,
        first_event_log_index BIGINT,
        created_at TIMESTAMPTZ NOT NULL,
        updated_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (term_id, curve_id)
) WITH (fillfactor = 50);
CREATE INDEX vault_empty ON vault (term_id) WHERE first_event_block IS NULL; -- hardly ever any

-- The outbox between ingest and cascade: which vaults (or terms, where a curve is NULL) changed, and by how many holders. A row holds, in
-- arrays side by side, what one statement changed in one bucket of terms: a row a vault costs three times as much, most of it the index.
-- Append and delete only; it bloats unless it is vacuumed often. cascade works on a bucket under its lock (30_bucket_lock).
CREATE FUNCTION vault_bucket(term_id TEXT) RETURNS SMALLINT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ -- 0 … 63, by the first six bits
        SELECT ((strpos('0123456789abcdef', substr(term_id, 3, 1)) - 1) * 4 + (strpos('0123456789abcdef', substr(term_id, 4, 1)) - 1) / 4)::smallint
$$;
CREATE TABLE vault_outbox (
        bucket SMALLINT NOT NULL,
        term_ids TEXT[] COLLATE "C" NOT NULL,
        curve_ids TEXT[] COLLATE "C" NOT NULL,
        position_deltas BIGINT[] NOT NULL,
        block_number BIGINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        xid XID8 NOT NULL DEFAULT pg_current_xact_id() -- see 30_vault_fold
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = -1,
        autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0.0, toast.autovacuum_vacuum_threshold = 2000,
        toast.autovacuum_vacuum_cost_delay = 0);
ALTER TABLE vault_outbox ALTER term_ids SET STORAGE EXTERNAL, ALTER curve_ids SET STORAGE EXTERNAL, ALTER position_deltas SET STORAGE EXTERNAL;
CREATE INDEX ON vault_outbox (bucket, xid);
ALTER TABLE vault_outbox REPLICA IDENTITY FULL; -- for logical replication; a key would be one more index

-- The same, a row a change.
CREATE VIEW vault_waiting AS
SELECT k.term_id, k.curve_id, k.position_delta, o.block_number, o.created_at
FROM vault_outbox o CROSS JOIN LATERAL unnest(o.term_ids, o.curve_ids, o.position_deltas) k (term_id, curve_id, position_delta);

-- What verify leaves out: terms that the outbox names, and vaults without events that cascade has not deleted yet.
CREATE VIEW term_waiting AS SELECT DISTINCT term_id, term_id AS id FROM vault_waiting;
CREATE VIEW vault_emptied AS SELECT term_id, curve_id FROM vault WHERE first_event_block IS NULL AND term_id IN (SELECT w.term_id FROM vault_waiting w);

CREATE FUNCTION vault_tell_of_terms(terms TEXT[], block_number BIGINT) RETURNS void LANGUAGE plpgsql AS $$ -- not sql: planned once a session
BEGIN
        INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
        SELECT vault_bucket(t), array_agg(t), array_agg(NULL::text), array_agg(0), vault_tell_of_terms.block_number
        FROM (SELECT DISTINCT t COLLATE "C" AS t FROM unnest(terms) u (t)) k
        GROUP BY 1;
END $$;

-- total_shares × price / 10^18, rounded half up, exactly: a quotient in NUMERIC is itself rounded, div() of integers is not.
CREATE FUNCTION vault_market_cap(total_shares NUMERIC, share_price NUMERIC) RETURNS NUMERIC
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT div(total_shares * share_price + 500000000000000000, 1000000000000000000) $$;

-- Expected: the definition of each table -----------------------------------------------------------------------------------------------

-- One shape for what moves a position and for what moves a vault.
CREATE VIEW position_event AS
SELECT receiver AS account_id, term_id, curve_id, block_number, log_index, transaction_hash,
        coalesce(block_timestamp, created_at) AS time, true AS is_deposit, total_shares::numeric AS shares,
        assets_after_fees::numeric AS deposited, 0::numeric AS redeemed
FROM deposited_events
UNION ALL
SELECT receiver, term_id, curve_id, block_number, log_index, transaction_hash,
        coalesce(block_timestamp, created_at), false, total_shares::numeric, 0, assets::numeric
FROM redeemed_events;

CREATE VIEW vault_event AS
SELECT term_id, curve_id, block_number, log_index, transaction_hash, coalesce(block_timestamp, created_at) AS time, vault_type,
        false AS is_price, NULL::numeric AS total_shares, NULL::numeric AS share_price, NULL::numeric AS total_assets
FROM deposited_events
UNION ALL
SELECT term_id, curve_id, block_number, log_index, transaction_hash, coalesce(block_timestamp, created_at), vault_type,
        false, NULL, NULL, NULL
FROM redeemed_events
UNION ALL
SELECT term_id, curve_id, block_number, log_index, transaction_hash, coalesce(block_timestamp, created_at), vault_type,
        true, total_shares::numeric, share_price::numeric, total_assets::numeric
FROM share_price_changed_events;

CREATE VIEW position_expected AS
SELECT DISTINCT ON (account_id, term_id, curve_id)
        account_id, term_id, curve_id, shares,
        sum(deposited) OVER w AS total_deposit_assets_after_total_fees,
        sum(redeemed) OVER w AS total_redeem_assets_for_receiver,
        block_number AS last_event_block, log_index AS last_event_log_index, transaction_hash AS last_event_transaction,
        first_value(is_deposit) OVER f AS first_is_deposit,
        first_value(block_number) OVER f AS first_event_block, first_value(log_index) OVER f AS first_event_log_index,
        first_value(time) OVER f AS created_at, time AS updated_at
FROM position_event
WINDOW w AS (PARTITION BY account_id, term_id, curve_id),
        f AS (PARTITION BY account_id, term_id, curve_id ORDER BY is_deposit DESC, block_number, log_index, time)
ORDER BY account_id, term_id, curve_id, block_number DESC, log_index DESC, time DESC, transaction_hash DESC, shares DESC;

CREATE VIEW vault_expected AS
SELECT DISTINCT ON (term_id, curve_id)
        term_id, curve_id,
        coalesce(first_value(total_shares) OVER p, 0) AS total_shares,
        coalesce(first_value(share_price) OVER p, 0) AS current_share_price,
        coalesce(first_value(total_assets) OVER p, 0) AS total_assets,
        vault_type::text COLLATE "C" AS vault_type,
        CASE WHEN first_value(is_price) OVER p THEN first_value(block_number) OVER p END AS price_event_block,
        CASE WHEN first_value(is_price) OVER p THEN first_value(log_index) OVER p END AS price_event_log_index,
        CASE WHEN first_value(is_price) OVER p THEN first_value(transaction_hash) OVER p END AS price_event_transaction,
        last_value(block_number) OVER w AS first_event_block, last_value(log_index) OVER w AS first_event_log_index,
        last_value(time) OVER w AS created_at,
        CASE WHEN first_value(is_price) OVER p THEN first_value(time) OVER p ELSE last_value(time) OVER w END AS updated_at
FROM vault_event
WINDOW p AS (PARTITION BY term_id, curve_id
                ORDER BY is_price DESC, block_number DESC, log_index DESC, time DESC, transaction_hash DESC),
        w AS (PARTITION BY term_id, curve_id ORDER BY block_number DESC, log_index DESC, time DESC, transaction_hash DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
ORDER BY term_id, curve_id, block_number DESC, log_index DESC, time DESC, transaction_hash DESC, vault_event.vault_type DESC;

-- Which of two states of a row has the later last event (price), the earlier first one. A vault without events (NULL) is behind everything.
-- One log index of one transaction may be a deposit in one block and a redemption (or a price) in a competing one: equal in all that orders
-- events. Then the greater balance, the greater type, is the later one; only these two depend on it.
CREATE FUNCTION position_is_later(a "position", b "position") RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT (a.last_event_block, a.last_event_log_index, a.updated_at, a.last_event_transaction, a.shares)
        > (b.last_event_block, b.last_event_log_index, b.updated_at, b.last_event_transaction, b.shares) $$;

CREATE FUNCTION position_is_earlier(a "position", b "position") RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT (NOT a.first_is_deposit, a.first_event_block, a.first_event_log_index, a.created_at)
        < (NOT b.first_is_deposit, b.first_event_block, b.first_event_log_index, b.created_at) $$;

CREATE FUNCTION vault_is_earlier(a vault, b vault) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT b.first_event_block IS NULL OR (a.first_event_block, a.first_event_log_index, a.created_at)
        < (b.first_event_block, b.first_event_log_index, b.created_at) $$;

CREATE FUNCTION vault_price_is_later(a vault, b vault) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT a.price_event_block IS NOT NULL AND (b.price_event_block IS NULL
        OR (a.price_event_block, a.price_event_log_index, a.updated_at, a.price_event_transaction)
        > (b.price_event_block, b.price_event_log_index, b.updated_at, b.price_event_transaction)) $$;

-- A vault's type is that of its latest event. All of them have the same one; where that changes, who adds the event has to be alone, for the
-- others do not look at what they would leave as it is: RO001 sends it the careful way (0012_reorgs.sql), which makes the vault anew.
CREATE FUNCTION vault_type_differs() RETURNS TEXT LANGUAGE plpgsql AS $$
BEGIN
        RAISE EXCEPTION 'a vault''s type may change' USING ERRCODE = 'RO001';
END $$;

-- Recompute: rows anew for given keys ---------------------------------------------------------------------------------------------------
-- First lock every key in one pass in order (a placeholder where there is no row yet; DO UPDATE … WHERE false locks and writes nothing),
-- then read in a later statement: under READ COMMITTED that one sees what the holder before us committed.

CREATE FUNCTION position_recompute(accounts TEXT[], terms TEXT[], curves TEXT[], move_count BOOLEAN) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        INSERT INTO position (account_id, term_id, curve_id, last_event_block, last_event_log_index, last_event_transaction,
                first_is_deposit, first_event_block, first_event_log_index, count_delta, created_at, updated_at)
        SELECT DISTINCT k.a COLLATE "C", k.t COLLATE "C", k.c COLLATE "C", -1, -1, '', false, -1, -1, 0, now(), now()
        FROM unnest(accounts, terms, curves) k(a, t, c)
        ORDER BY 1, 2, 3
        ON CONFLICT (account_id, term_id, curve_id) DO UPDATE SET account_id = excluded.account_id WHERE false;

        WITH key AS MATERIALIZED (
                SELECT DISTINCT a COLLATE "C" AS account_id, t COLLATE "C" AS term_id, c COLLATE "C" AS curve_id FROM unnest(accounts, terms, curves) k(a, t, c)
        ), expected AS MATERIALIZED (
                SELECT e.* FROM key k CROSS JOIN LATERAL (
                        SELECT * FROM position_expected x
                        WHERE x.account_id = k.account_id AND x.term_id = k.term_id AND x.curve_id = k.curve_id OFFSET 0) e
        ), gone AS (
                DELETE FROM position p USING key k
                WHERE (p.account_id, p.term_id, p.curve_id) = (k.account_id, k.term_id, k.curve_id)
                        AND (k.account_id, k.term_id, k.curve_id) -- hashed, NOT EXISTS is not
                        NOT IN (SELECT e.account_id, e.term_id, e.curve_id FROM expected e)
                RETURNING p.term_id, p.curve_id, -(p.shares > 0)::int AS delta, p.last_event_block
        ), kept AS (
                UPDATE position p SET
                        shares = e.shares,
                        total_deposit_assets_after_total_fees = e.total_deposit_assets_after_total_fees,
                        total_redeem_assets_for_receiver = e.total_redeem_assets_for_receiver,
                        last_event_block = e.last_event_block, last_event_log_index = e.last_event_log_index,
                        last_event_transaction = e.last_event_transaction, first_is_deposit = e.first_is_deposit,
                        first_event_block = e.first_event_block, first_event_log_index = e.first_event_log_index,
                        count_delta = (e.shares > 0)::int - (p.shares > 0)::int,
                        created_at = e.created_at, updated_at = e.updated_at
                FROM expected e
                WHERE (p.account_id, p.term_id, p.curve_id) = (e.account_id, e.term_id, e.curve_id)
                RETURNING p.term_id, p.curve_id, p.count_delta::int AS delta, p.last_event_block
        )
        INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
        SELECT vault_bucket(term_id), array_agg(term_id), array_agg(curve_id), array_agg(delta), max(block_number)
        FROM (
                SELECT term_id, curve_id, CASE WHEN move_count THEN sum(delta) ELSE 0 END AS delta, max(last_event_block) AS block_number
                FROM (SELECT * FROM gone UNION ALL SELECT * FROM kept) moved
                GROUP BY term_id, curve_id
        ) k
        GROUP BY 1;
END $$;

-- Alone, for inserts do not lock the vaults that they leave as they are.
CREATE FUNCTION vault_recompute(terms TEXT[], curves TEXT[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        PERFORM event_lock(true);
        INSERT INTO vault (term_id, curve_id, vault_type, created_at, updated_at)
        SELECT DISTINCT k.t COLLATE "C", k.c COLLATE "C", '0', now(), now()
        FROM unnest(terms, curves) k(t, c)
        ORDER BY 1, 2
        ON CONFLICT (term_id, curve_id) DO UPDATE SET term_id = excluded.term_id WHERE false;

        WITH key AS MATERIALIZED (
                SELECT DISTINCT t COLLATE "C" AS term_id, c COLLATE "C" AS curve_id FROM unnest(terms, curves) k(t, c)
        ), expected AS MATERIALIZED (
                SELECT k.term_id AS key_term_id, k.curve_id AS key_curve_id, e.* FROM key k LEFT JOIN LATERAL (
                        SELECT * FROM vault_expected x WHERE x.term_id = k.term_id AND x.curve_id = k.curve_id OFFSET 0) e ON true
        ), made AS ( -- a vault without events stays, with NULLs and zeros, until cascade has folded its outbox
                UPDATE vault v SET
                        total_shares = coalesce(e.total_shares, 0), current_share_price = coalesce(e.current_share_price, 0),
                        total_assets = coalesce(e.total_assets, 0),
                        market_cap = coalesce(vault_market_cap(e.total_shares, e.current_share_price), 0),
                        vault_type = coalesce(e.vault_type, v.vault_type),
                        price_event_block = e.price_event_block, price_event_log_index = e.price_event_log_index,
                        price_event_transaction = e.price_event_transaction,
                        first_event_block = e.first_event_block, first_event_log_index = e.first_event_log_index,
                        created_at = coalesce(e.created_at, v.created_at), updated_at = coalesce(e.updated_at, v.updated_at)
                FROM expected e
                WHERE (v.term_id, v.curve_id) = (e.key_term_id, e.key_curve_id)
                RETURNING v.term_id, v.curve_id, coalesce(v.price_event_block, v.first_event_block, 0) AS block_number
        )
        INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
        SELECT vault_bucket(term_id), array_agg(term_id), array_agg(curve_id), array_agg(0), max(block_number) FROM made GROUP BY 1;
END $$;

-- rebuild: the keys first, without any lock; then 1,000 rows at a time. The count of holders does not move: whatever changed a position by hand did
-- not move it either; cascade's rebuild counts anew.
CREATE FUNCTION base_find(name TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
        DROP TABLE IF EXISTS base_found;
        CREATE TEMP TABLE base_found (part BIGINT, keys TEXT[] COLLATE "C");
        INSERT INTO base_found SELECT row_number() OVER () / 1000, d.keys
        FROM table_difference(name, name || '_expected', CASE name WHEN 'vault' THEN 'vault_emptied' END, 1) d;
        RETURN (SELECT coalesce(max(f.part) + 1, 0) FROM base_found f);
END $$;

CREATE FUNCTION base_make(name TEXT, part_ BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
        found RECORD;
BEGIN
        SELECT count(*) AS rows, array_agg(f.keys[1]) AS a, array_agg(f.keys[2]) AS b, array_agg(f.keys[3]) AS c INTO found
        FROM base_found f WHERE f.part = part_;
        CASE name
                WHEN 'atom' THEN PERFORM atom_recompute(found.a);
                WHEN 'triple' THEN PERFORM triple_recompute(found.a);
                WHEN 'position' THEN PERFORM position_recompute(found.a, found.b, found.c, false);
                WHEN 'vault' THEN PERFORM vault_recompute(found.a, found.b);
        END CASE;
        RETURN found.rows;
END $$;

-- Triggers: set-based, once a statement ------------------------------------------------------------------------------------------------

-- Atoms and triples: one text for the definition, recompute and trigger.
DO $make$
DECLARE
        kind RECORD;
        columns TEXT;
BEGIN
        FOR kind IN
                SELECT * FROM (VALUES -- table, columns of its own, what they are of an event; those that may not be NULL, and no value for each; its terms
                        ('atom', 'wallet_id, creator_id, data, raw_data', 'atom_wallet, creator, atom_data, raw_data', 'wallet_id, creator_id', $$'', ''$$,
                                'array_agg(term_id)'),
                        ('triple', 'creator_id, subject_id, predicate_id, object_id, counter_term_id', 'creator, subject_id, predicate_id, object_id, counter_term_id',
                                'creator_id, subject_id, predicate_id, object_id, counter_term_id', $$'', '', '', '', ''$$,
                                'array_agg(term_id) || array_agg(counter_term_id)')
                ) k (name, own, of_event, filled, blanks, terms)
        LOOP
                columns := kind.own || ', last_event_block, last_event_log_index, last_event_transaction, first_event_block, first_event_log_index,
                        created_at, updated_at';
                EXECUTE format($f$
CREATE VIEW %1$s_expected (term_id, %2$s) AS
SELECT DISTINCT ON (term_id) term_id, %3$s, block_number, log_index, transaction_hash,
        last_value(block_number) OVER w, last_value(log_index) OVER w, last_value(coalesce(block_timestamp, created_at)) OVER w,
        coalesce(block_timestamp, created_at)
FROM %1$s_created_events
WINDOW w AS (PARTITION BY term_id
        ORDER BY block_number DESC, log_index DESC, coalesce(block_timestamp, created_at) DESC, transaction_hash DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
ORDER BY term_id, block_number DESC, log_index DESC, coalesce(block_timestamp, created_at) DESC, transaction_hash DESC;

CREATE FUNCTION %1$s_recompute(terms TEXT[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
        -- a triple's counter term as it is now, and below as it will be: both ends of a change have to hear of it
        PERFORM vault_tell_of_terms(%6$s, 0) FROM %1$s WHERE term_id = ANY (terms);

        INSERT INTO %1$s (term_id, %4$s, last_event_block, last_event_log_index, last_event_transaction, first_event_block, first_event_log_index,
                created_at, updated_at)
        SELECT DISTINCT t COLLATE "C", %5$s, -1, -1, '', -1, -1, now(), now() FROM unnest(terms) t ORDER BY 1
        ON CONFLICT (term_id) DO UPDATE SET term_id = excluded.term_id WHERE false;
        DELETE FROM %1$s a WHERE a.term_id = ANY (terms) AND NOT EXISTS (SELECT FROM %1$s_created_events e WHERE e.term_id = a.term_id);
        UPDATE %1$s a SET (%2$s) = (SELECT %2$s FROM %1$s_expected e WHERE e.term_id = a.term_id) WHERE a.term_id = ANY (terms);

        PERFORM vault_tell_of_terms(terms || %6$s, 0) FROM %1$s WHERE term_id = ANY (terms);
END $$;

CREATE FUNCTION %1$s_created_events_changed() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
        again TEXT[];
BEGIN
        IF TG_OP = 'INSERT' THEN
                INSERT INTO %1$s (term_id, %2$s)
                SELECT DISTINCT ON (term_id) term_id, %3$s, block_number, log_index, transaction_hash, block_number, log_index,
                        coalesce(block_timestamp, created_at), coalesce(block_timestamp, created_at)
                FROM new_rows
                ORDER BY term_id
                ON CONFLICT (term_id) DO NOTHING;
                PERFORM vault_tell_of_terms(%6$s, max(block_number)) FROM new_rows;
                -- a second creation of one term is rare (competing blocks): make it anew from its events
                again := ARRAY(SELECT DISTINCT n.term_id FROM new_rows n
                        LEFT JOIN LATERAL (SELECT * FROM %1$s x WHERE x.term_id = n.term_id OFFSET 0) a ON true -- by key, however few rows there are
                        WHERE (a.last_event_transaction, a.last_event_log_index) IS DISTINCT FROM (n.transaction_hash, n.log_index)
                                OR (a.first_event_block, a.first_event_log_index) IS DISTINCT FROM (n.block_number, n.log_index));
        ELSE
                again := ARRAY(SELECT term_id FROM old_rows);
                IF TG_OP = 'UPDATE' THEN
                        again := again || ARRAY(SELECT term_id FROM new_rows);
                END IF;
        END IF;
        IF cardinality(again) > 0 THEN
                PERFORM %1$s_recompute(again);
        END IF;
        RETURN NULL;
END $$;
                $f$, kind.name, columns, kind.of_event, kind.filled, kind.blanks, kind.terms);
        END LOOP;
END $make$;

-- Of ON CONFLICT DO UPDATE: these columns as the incoming row has them where `which` says so of it and the row that is there, else as they are.
CREATE FUNCTION columns_of(which TEXT, old TEXT, columns TEXT) RETURNS TEXT LANGUAGE sql AS $$
        SELECT string_agg(format('%1$s = CASE WHEN %2$s(excluded, %3$s) THEN excluded.%1$s ELSE %3$s.%1$s END', c, which, old), ', ')
        FROM unnest(string_to_array(columns, ', ')) c
$$;

-- Deposits and redemptions: one text. They move positions; of vaults only those that do not show them yet: one that is not there, is of
-- another type, or began later.
DO $make$
DECLARE
        kind RECORD;
BEGIN
        FOR kind IN
                SELECT * FROM (VALUES
                        ('deposited_events_changed', 'true', 'assets_after_fees', '0'),
                        ('redeemed_events_changed', 'false', '0', 'assets')
                ) k (name, is_deposit, deposited, redeemed)
        LOOP
                EXECUTE format($f$
CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
        accounts TEXT[];
        terms TEXT[];
        curves TEXT[];
BEGIN
        IF TG_OP = 'INSERT' THEN
                WITH folded AS (
                        SELECT DISTINCT ON (account_id, term_id, curve_id) *,
                                sum(deposited) OVER w AS sum_deposited, sum(redeemed) OVER w AS sum_redeemed,
                                last_value(block_number) OVER w AS first_block, last_value(log_index) OVER w AS first_log_index,
                                last_value(time) OVER w AS first_time
                        FROM (
                                SELECT receiver AS account_id, term_id, curve_id, block_number, log_index, transaction_hash,
                                        coalesce(block_timestamp, created_at) AS time, total_shares, %3$s::numeric AS deposited, %4$s::numeric AS redeemed
                                FROM new_rows
                        ) n
                        WINDOW w AS (PARTITION BY account_id, term_id, curve_id
                                ORDER BY block_number DESC, log_index DESC, time DESC, transaction_hash DESC
                                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
                        ORDER BY account_id, term_id, curve_id, block_number DESC, log_index DESC, time DESC, transaction_hash DESC
                ), written AS (
                        INSERT INTO position AS p (account_id, term_id, curve_id, shares,
                                total_deposit_assets_after_total_fees, total_redeem_assets_for_receiver,
                                last_event_block, last_event_log_index, last_event_transaction,
                                first_is_deposit, first_event_block, first_event_log_index, count_delta, created_at, updated_at)
                        SELECT account_id, term_id, curve_id, total_shares::numeric, sum_deposited, sum_redeemed, block_number, log_index,
                                transaction_hash, %2$s, first_block, first_log_index, (total_shares::numeric > 0)::int, first_time, time
                        FROM folded
                        ORDER BY account_id, term_id, curve_id
                        ON CONFLICT (account_id, term_id, curve_id) DO UPDATE SET
                                total_deposit_assets_after_total_fees
                                        = p.total_deposit_assets_after_total_fees + excluded.total_deposit_assets_after_total_fees,
                                total_redeem_assets_for_receiver
                                        = p.total_redeem_assets_for_receiver + excluded.total_redeem_assets_for_receiver,
                                count_delta = CASE WHEN position_is_later(excluded, p)
                                        THEN (excluded.shares > 0)::int - (p.shares > 0)::int ELSE 0 END,
                                %5$s, %6$s
                        RETURNING p.term_id, p.curve_id, p.count_delta, p.last_event_block
                )
                INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
                SELECT vault_bucket(term_id), array_agg(term_id), array_agg(curve_id), array_agg(delta), max(block_number)
                FROM (
                        SELECT term_id, curve_id, sum(count_delta) AS delta, max(last_event_block) AS block_number FROM written
                        GROUP BY term_id, curve_id HAVING sum(count_delta) <> 0 -- what leaves the number of holders changes nothing behind it
                ) k
                GROUP BY 1;

                WITH written AS (
                        INSERT INTO vault AS v (term_id, curve_id, vault_type, first_event_block, first_event_log_index, created_at, updated_at)
                        SELECT f.term_id, f.curve_id, CASE WHEN least_type = greatest_type THEN f.vault_type::text ELSE vault_type_differs() END,
                                f.block_number, f.log_index, f.time, f.time
                        FROM (
                                SELECT DISTINCT ON (term_id, curve_id) *, min(vault_type) OVER w AS least_type, max(vault_type) OVER w AS greatest_type
                                FROM (
                                        SELECT term_id, curve_id, vault_type, block_number, log_index, coalesce(block_timestamp, created_at) AS time
                                        FROM new_rows
                                ) n
                                WINDOW w AS (PARTITION BY term_id, curve_id)
                                ORDER BY term_id, curve_id, block_number, log_index, time
                        ) f
                        LEFT JOIN LATERAL (SELECT * FROM vault x WHERE x.term_id = f.term_id AND x.curve_id = f.curve_id OFFSET 0) known ON true
                        WHERE known.first_event_block IS NULL OR known.vault_type <> f.vault_type::text OR least_type <> greatest_type
                                OR (f.block_number, f.log_index, f.time) < (known.first_event_block, known.first_event_log_index, known.created_at)
                        ORDER BY f.term_id, f.curve_id
                        ON CONFLICT (term_id, curve_id) DO UPDATE SET
                                vault_type = CASE WHEN excluded.vault_type = v.vault_type OR v.first_event_block IS NULL THEN excluded.vault_type
                                        ELSE vault_type_differs() END,
                                %7$s,
                                updated_at = CASE WHEN v.price_event_block IS NULL AND vault_is_earlier(excluded, v)
                                        THEN excluded.updated_at ELSE v.updated_at END
                        WHERE vault_is_earlier(excluded, v) OR excluded.vault_type <> v.vault_type
                        RETURNING v.term_id, v.curve_id, v.first_event_block
                )
                INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
                SELECT vault_bucket(term_id), array_agg(term_id), array_agg(curve_id), array_agg(0), max(first_event_block) FROM written
                GROUP BY 1;
                RETURN NULL;
        END IF;
        SELECT array_agg(receiver), array_agg(term_id), array_agg(curve_id) INTO accounts, terms, curves FROM old_rows;
        IF TG_OP = 'UPDATE' THEN
                SELECT accounts || array_agg(receiver), terms || array_agg(term_id), curves || array_agg(curve_id)
                INTO accounts, terms, curves FROM new_rows;
        END IF;
        PERFORM position_recompute(accounts, terms, curves, true);
        PERFORM vault_recompute(terms, curves);
        RETURN NULL;
END $$
                $f$, kind.name, kind.is_deposit, kind.deposited, kind.redeemed,
                        columns_of('position_is_later', 'p', 'shares, last_event_block, last_event_log_index, last_event_transaction, updated_at'),
                        columns_of('position_is_earlier', 'p', 'first_is_deposit, first_event_block, first_event_log_index, created_at'),
                        columns_of('vault_is_earlier', 'v', 'first_event_block, first_event_log_index, created_at'));
        END LOOP;
END $make$;

DO $make$
BEGIN
        EXECUTE format($f$
CREATE FUNCTION share_price_changed_events_changed() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
        terms TEXT[];
        curves TEXT[];
BEGIN
        IF TG_OP = 'INSERT' THEN
                WITH folded AS (
                        SELECT DISTINCT ON (term_id, curve_id) *,
                                last_value(block_number) OVER w AS first_block, last_value(log_index) OVER w AS first_log_index,
                                last_value(time) OVER w AS first_time, min(vault_type) OVER w AS least_type, max(vault_type) OVER w AS greatest_type
                        FROM (
                                SELECT term_id, curve_id, block_number, log_index, transaction_hash, coalesce(block_timestamp, created_at) AS time,
                                        vault_type, total_shares, share_price, total_assets
                                FROM new_rows
                        ) n
                        WINDOW w AS (PARTITION BY term_id, curve_id
                                ORDER BY block_number DESC, log_index DESC, time DESC, transaction_hash DESC
                                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
                        ORDER BY term_id, curve_id, block_number DESC, log_index DESC, time DESC, transaction_hash DESC
                ), written AS (
                        INSERT INTO vault AS v (term_id, curve_id, total_shares, current_share_price, total_assets, market_cap, vault_type,
                                price_event_block, price_event_log_index, price_event_transaction, first_event_block, first_event_log_index,
                                created_at, updated_at)
                        SELECT term_id, curve_id, total_shares::numeric, share_price::numeric, total_assets::numeric,
                                vault_market_cap(total_shares::numeric, share_price::numeric),
                                CASE WHEN least_type = greatest_type THEN vault_type::text ELSE vault_type_differs() END,
                                block_number, log_index, transaction_hash, first_block, first_log_index, first_time, time
                        FROM folded
                        ORDER BY term_id, curve_id
                        ON CONFLICT (term_id, curve_id) DO UPDATE SET
                                %1$s, %2$s,
                                vault_type = CASE WHEN excluded.vault_type = v.vault_type OR v.first_event_block IS NULL THEN excluded.vault_type
                                        ELSE vault_type_differs() END
                        WHERE vault_price_is_later(excluded, v) OR vault_is_earlier(excluded, v) OR excluded.vault_type <> v.vault_type
                        RETURNING v.term_id, v.curve_id, v.price_event_block
                )
                INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
                SELECT vault_bucket(term_id), array_agg(term_id), array_agg(curve_id), array_agg(0), max(price_event_block)
                FROM written GROUP BY 1; -- what leaves a vault as it is changes nothing behind it
                RETURN NULL;
        END IF;
        SELECT array_agg(term_id), array_agg(curve_id) INTO terms, curves FROM old_rows;
        IF TG_OP = 'UPDATE' THEN
                SELECT terms || array_agg(term_id), curves || array_agg(curve_id) INTO terms, curves FROM new_rows;
        END IF;
        PERFORM vault_recompute(terms, curves);
        RETURN NULL;
END $$;
        $f$, columns_of('vault_price_is_later', 'v', 'total_shares, current_share_price, total_assets, market_cap, price_event_block, price_event_log_index, '
                        'price_event_transaction, updated_at'),
                columns_of('vault_is_earlier', 'v', 'first_event_block, first_event_log_index, created_at'));
END $make$;
DROP FUNCTION columns_of;

-- While event_settle moves rows it is at work itself.
CREATE FUNCTION event_settling() RETURNS BOOLEAN LANGUAGE sql STABLE AS $$ SELECT current_setting('events.settling', true) IS NOT DISTINCT FROM 'true' $$;

DO $$
DECLARE
        name TEXT;
        kind RECORD;
BEGIN
        FOREACH name IN ARRAY array_remove(event_tables(), 'generic_events') LOOP
                FOR kind IN SELECT * FROM (VALUES ('inserted', 'INSERT', 'NEW TABLE AS new_rows'), ('deleted', 'DELETE', 'OLD TABLE AS old_rows'),
                        ('updated', 'UPDATE', 'OLD TABLE AS old_rows NEW TABLE AS new_rows')) k (name, operation, rows)
                LOOP
                        EXECUTE format('CREATE TRIGGER %s AFTER %s ON %I REFERENCING %s FOR EACH STATEMENT WHEN (NOT event_settling())
                                EXECUTE FUNCTION %I()', kind.name, kind.operation, name, kind.rows, name || '_changed');
                END LOOP;
        END LOOP;
END $$;

-- Updates and deletes of what vaults are made of end in vault_recompute, which is alone: they are from the start, before they hold any row that a
-- batch under the shared lock may wait for.
CREATE FUNCTION event_be_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        PERFORM event_lock(true);
        RETURN NULL;
END $$;
CREATE TRIGGER alone BEFORE UPDATE OR DELETE ON deposited_events FOR EACH STATEMENT EXECUTE FUNCTION event_be_alone();
CREATE TRIGGER alone BEFORE UPDATE OR DELETE ON redeemed_events FOR EACH STATEMENT EXECUTE FUNCTION event_be_alone();
CREATE TRIGGER alone BEFORE UPDATE OR DELETE ON share_price_changed_events FOR EACH STATEMENT EXECUTE FUNCTION event_be_alone();

-- What others added to an atom outlives it: it is kept where a reorg takes the atom away, and given back when it returns.
CREATE FUNCTION atom_keep_enrichment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        IF num_nonnulls(OLD.type, OLD.emoji, OLD.label, OLD.image, OLD.value_id) > 0 OR OLD.resolving_status <> 'Pending' THEN
                INSERT INTO atom_enrichment (term_id, type, emoji, label, image, value_id, resolving_status)
                VALUES (OLD.term_id, OLD.type, OLD.emoji, OLD.label, OLD.image, OLD.value_id, OLD.resolving_status)
                ON CONFLICT (term_id) DO UPDATE SET type = excluded.type, emoji = excluded.emoji, label = excluded.label,
                        image = excluded.image, value_id = excluded.value_id, resolving_status = excluded.resolving_status;
        ELSE
                DELETE FROM atom_enrichment e WHERE e.term_id = OLD.term_id; -- what was kept once has been taken back
        END IF;
        RETURN OLD;
END $$;
CREATE TRIGGER enrichment_kept BEFORE DELETE ON atom FOR EACH ROW EXECUTE FUNCTION atom_keep_enrichment();

CREATE FUNCTION atom_restore_enrichment() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
        UPDATE atom a SET type = e.type, emoji = e.emoji, label = e.label, image = e.image, value_id = e.value_id,
                resolving_status = e.resolving_status
        FROM new_rows n
        CROSS JOIN LATERAL (SELECT * FROM atom_enrichment x WHERE x.term_id = n.term_id OFFSET 0) e
        WHERE a.term_id = n.term_id;
        RETURN NULL;
END $$;
CREATE TRIGGER enrichment_restored AFTER INSERT ON atom REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION atom_restore_enrichment();
