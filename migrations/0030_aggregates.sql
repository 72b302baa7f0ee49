-- Level 2: vault.position_count, vault.market_cap and term, kept by cascade; and its outbox to analytics.

CREATE TABLE term (
        id TEXT COLLATE "C" PRIMARY KEY,
        type TEXT COLLATE "C" NOT NULL DEFAULT 'Unknown',
        atom_id TEXT COLLATE "C",
        triple_id TEXT COLLATE "C",
        total_assets NUMERIC NOT NULL DEFAULT 0,
        total_market_cap NUMERIC NOT NULL DEFAULT 0,
        created_at TIMESTAMPTZ,
        updated_at TIMESTAMPTZ
) WITH (fillfactor = 50);

-- Which triple (by its own or its counter's term) changed. A row says only that, not by how much. id tells the rows of a term apart: it is random,
-- for a sequence stays behind where the tables are moved by logical replication.
CREATE TABLE term_outbox (
        term_id TEXT COLLATE "C" NOT NULL,
        id BIGINT NOT NULL DEFAULT (random() * 9007199254740992)::bigint,
        block_number BIGINT NOT NULL,
        gone BOOLEAN NOT NULL DEFAULT false, -- the triple of this term went
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        PRIMARY KEY (term_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = -1,
        autovacuum_vacuum_cost_delay = 0);

-- That a triple went is said here by who takes it away: it may have come and gone again before cascade looks, which sees nothing of it then.
CREATE FUNCTION triple_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        INSERT INTO term_outbox (term_id, block_number, gone) SELECT term_id, 0, true FROM old_rows;
        RETURN NULL;
END $$;
CREATE TRIGGER gone AFTER DELETE ON triple REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION triple_gone();

CREATE VIEW term_expected AS
SELECT id,
        CASE WHEN bool_or(part = 'Atom') THEN 'Atom' WHEN bool_or(part = 'Triple') THEN 'Triple' ELSE 'Unknown' END COLLATE "C" AS type,
        CASE WHEN bool_or(part = 'Atom') THEN id END AS atom_id,
        CASE WHEN bool_or(part = 'Triple') THEN id END AS triple_id,
        sum(total_assets) AS total_assets,
        sum(market_cap) AS total_market_cap,
        min(created_at) AS created_at,
        max(updated_at) AS updated_at
FROM (
        SELECT term_id AS id, 'Atom' AS part, 0::numeric AS total_assets, 0::numeric AS market_cap, created_at, updated_at FROM atom
        UNION ALL
        SELECT term_id, 'Triple', 0, 0, created_at, updated_at FROM triple
        UNION ALL
        SELECT counter_term_id, 'Triple', 0, 0, created_at, updated_at FROM triple
        UNION ALL
        SELECT term_id, 'Vault', total_assets, market_cap, created_at, updated_at FROM vault WHERE first_event_block IS NOT NULL
) parts
GROUP BY id;

-- Where a position has a vault: the vault of a position exists by construction, ingest writes both.
CREATE VIEW vault_count_expected AS
SELECT v.term_id, v.curve_id, coalesce(p.position_count, 0) AS position_count,
        vault_market_cap(v.total_shares, v.current_share_price) AS market_cap
FROM vault v
LEFT JOIN (SELECT term_id, curve_id, count(*) AS position_count FROM position WHERE shares > 0 GROUP BY term_id, curve_id) p
        USING (term_id, curve_id);
