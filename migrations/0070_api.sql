-- additive: schema `api`, views for people and for tools that read; no stage reads them.
-- The schema is named after the pipeline's: `api` for public, else SCHEMA_api. So two pipelines in one database have one each.
-- The views are made here as api_NAME and moved there at the end, so that their text names tables without a schema.
--
-- Addresses: account and creator compare in any case (`account = '0xf39f…'` finds 0xf39F…), by a collation and an index with it. An index on
-- lower() would serve only queries that write lower() as well, which REST and GraphQL servers do not. These columns cannot be used with LIKE.
-- It costs about 5 us for each new position, and nothing for later events of it.
-- activity finds an account by way of position, which has a row for each receiver: the event tables need no further index. (LEFT JOIN: of an
-- inner join by three columns the planner expects one row, and then reads all for the newest twenty.)

DO $$
BEGIN
        LOCK TABLE atom, position, triple IN SHARE MODE; -- before anything that takes time
        BEGIN
                CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        EXCEPTION WHEN feature_not_supported THEN -- a PostgreSQL built without ICU: addresses have to be given as they are stored
                CREATE COLLATION any_case FROM "C";
        END;
        CREATE INDEX position_account ON position (account_id COLLATE any_case);
        CREATE INDEX atom_creator ON atom (creator_id COLLATE any_case);
        CREATE INDEX triple_creator ON triple (creator_id COLLATE any_case);
END $$;

CREATE FUNCTION api_schema() RETURNS TEXT LANGUAGE sql STABLE AS $$
        SELECT CASE current_schema() WHEN 'public' THEN 'api' ELSE current_schema() || '_api' END
$$;

-- What an atom's data says, in one line of at most 60 characters, without control characters (those that turn the direction of writing, too):
-- the name in a JSON document, else the text. NULL where it says nothing.
CREATE FUNCTION data_label(data TEXT) RETURNS TEXT LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
        said TEXT := data;
BEGIN
        IF data ~ '^\s*\{' THEN
                BEGIN
                        said := coalesce(nullif(btrim(data::json ->> 'name'), ''), data);
                EXCEPTION WHEN OTHERS THEN NULL; -- whatever keeps PostgreSQL from reading it as JSON: it is text
                END;
        END IF;
        said := btrim(regexp_replace(left(said, 1000), '[[:space:][:cntrl:]\u0080-\u009F\u202A-\u202E\u2066-\u2069\uFEFF]+', ' ', 'g'));
        RETURN CASE WHEN length(said) > 60 THEN left(said, 59) || '…' ELSE nullif(said, '') END;
END $$;

-- The enriched label, else what the data says, else a triple's parts (in turn, three deep), else the id, shortened. It reads as its owner: a role
-- needs rights on schema api only.
CREATE FUNCTION term_label(id TEXT, depth INT DEFAULT 0) RETURNS TEXT LANGUAGE plpgsql STABLE SECURITY DEFINER SET enable_seqscan = off AS $$
DECLARE
        said TEXT := (SELECT coalesce(nullif(btrim(a.label), ''), data_label(a.data)) FROM atom a WHERE a.term_id = id);
BEGIN
        IF said IS NULL AND depth < 3 THEN
                said := (SELECT CASE WHEN t.against THEN 'not (' || t.said || ')' WHEN depth > 0 THEN '(' || t.said || ')' ELSE t.said END
                        FROM (SELECT concat_ws(' ', term_label(x.subject_id, depth + 1), term_label(x.predicate_id, depth + 1),
                                        term_label(x.object_id, depth + 1)) AS said, x.against
                                FROM (SELECT *, false AS against FROM triple WHERE term_id = id
                                        UNION ALL
                                        SELECT *, true FROM triple WHERE counter_term_id = id LIMIT 1) x) t);
        END IF;
        RETURN coalesce(said, left(id, 8) || '…' || right(id, 4));
END $$;

CREATE VIEW api_term AS
SELECT id, type, term_label(id) AS label FROM term;

CREATE VIEW api_atom AS
SELECT term_id AS id, term_label(term_id) AS label, type, data, emoji, image, creator_id COLLATE any_case AS creator, created_at FROM atom;

CREATE VIEW api_triple AS
SELECT t.term_id AS id, term_label(t.subject_id) AS subject, term_label(t.predicate_id) AS predicate, term_label(t.object_id) AS object,
        t.subject_id, t.predicate_id, t.object_id, t.counter_term_id AS counter_id, t.creator_id COLLATE any_case AS creator,
        tt.total_market_cap AS market_cap, tt.total_assets, tt.total_position_count AS position_count, t.created_at
FROM triple t JOIN triple_term tt ON tt.term_id = t.term_id;

CREATE VIEW api_position AS
SELECT p.account_id COLLATE any_case AS account, p.term_id, p.curve_id, term_label(p.term_id) AS label, p.shares, v.value,
        p.total_deposit_assets_after_total_fees AS deposited, p.total_redeem_assets_for_receiver AS redeemed,
        v.value + p.total_redeem_assets_for_receiver - p.total_deposit_assets_after_total_fees AS profit, p.created_at, p.updated_at
FROM position p
CROSS JOIN LATERAL (SELECT div(p.shares * v.current_share_price, 1000000000000000000) AS value FROM vault v
        WHERE (v.term_id, v.curve_id) = (p.term_id, p.curve_id)) v;

CREATE VIEW api_vault AS
SELECT term_id, curve_id, term_label(term_id) AS label,
        CASE vault_type WHEN '0' THEN 'atom' WHEN '1' THEN 'triple' WHEN '2' THEN 'counter triple' ELSE vault_type END AS type,
        current_share_price AS share_price, total_shares, total_assets, market_cap, position_count, created_at, updated_at
FROM vault WHERE first_event_block IS NOT NULL;

CREATE VIEW api_activity AS
SELECT e.block_number, e.log_index, e.block_timestamp, e.kind, p.account_id COLLATE any_case AS account, e.term_id, e.curve_id,
        term_label(e.term_id) AS label, e.assets, e.fees, e.shares, e.transaction_hash
FROM (
        SELECT block_number, log_index, block_timestamp, 'deposit' AS kind, receiver, term_id, curve_id, assets::numeric AS assets,
                assets::numeric - assets_after_fees::numeric AS fees, shares::numeric AS shares, transaction_hash FROM deposited_events
        UNION ALL
        SELECT block_number, log_index, block_timestamp, 'redemption', receiver, term_id, curve_id, assets::numeric,
                fees::numeric, shares::numeric, transaction_hash FROM redeemed_events) e
LEFT JOIN position p ON (p.account_id, p.term_id, p.curve_id) = (e.receiver, e.term_id, e.curve_id)
ORDER BY e.block_number DESC, e.log_index DESC;

CREATE VIEW api_price AS
SELECT term_id, curve_id, block_number, log_index, block_timestamp, share_price::numeric AS share_price, total_shares::numeric AS total_shares,
        total_assets::numeric AS total_assets, transaction_hash
FROM share_price_changed_events;

-- The role intuition_read may read all of it. Where the migrating role may not create it, another does, and the owner calls this again.
CREATE FUNCTION api_grant() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
        relation REGCLASS;
BEGIN
        IF to_regrole('intuition_read') IS NULL THEN
                RETURN;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I, %I TO intuition_read', current_schema(), api_schema());
        FOR relation IN SELECT oid FROM pg_class WHERE relnamespace IN (quote_ident(current_schema())::regnamespace, quote_ident(api_schema())::regnamespace)
                AND relkind IN ('r', 'v') AND pg_has_role(relowner, 'USAGE') LOOP
                EXECUTE format('GRANT SELECT ON %s TO intuition_read', relation);
        END LOOP;
END $$;

DO $$
DECLARE
        name TEXT;
BEGIN
        EXECUTE format('ALTER FUNCTION term_label SET search_path = %I, pg_temp', current_schema());
        IF to_regnamespace(quote_ident(api_schema())) IS NULL THEN -- it may have been made for a role that may not
                EXECUTE format('CREATE SCHEMA %I', api_schema());
        END IF;
        FOREACH name IN ARRAY ARRAY['term', 'atom', 'triple', 'position', 'vault', 'activity', 'price'] LOOP
                EXECUTE format('ALTER VIEW %I SET SCHEMA %I', 'api_' || name, api_schema());
                EXECUTE format('ALTER VIEW %I.%I RENAME TO %I', api_schema(), 'api_' || name, name);
        END LOOP;
        BEGIN
                CREATE ROLE intuition_read NOLOGIN;
        EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL; -- of another database, perhaps
        END;
        PERFORM api_grant();
END $$;
