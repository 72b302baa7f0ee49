-- $1 term ids, whose buckets were locked in an earlier statement. Makes the rows as term_expected says and tells analytics of those that are, or
-- were, a triple's. By key, whatever the planner thinks of tables that were empty, as in 30_vault_fold.
WITH expected AS MATERIALIZED (
        SELECT e.*
        FROM (SELECT DISTINCT id COLLATE "C" FROM unnest($1::text[]) u (id)) k (id)
        CROSS JOIN LATERAL (SELECT * FROM term_expected x WHERE x.id = k.id OFFSET 0) e
), gone AS (
        DELETE FROM term WHERE id = ANY (ARRAY(SELECT unnest($1::text[]) EXCEPT SELECT e.id FROM expected e))
), kept AS (
        INSERT INTO term AS t (id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at)
        SELECT id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at FROM expected ORDER BY id
        ON CONFLICT (id) DO UPDATE SET
                type = excluded.type, atom_id = excluded.atom_id, triple_id = excluded.triple_id, total_assets = excluded.total_assets,
                total_market_cap = excluded.total_market_cap, created_at = excluded.created_at, updated_at = excluded.updated_at
        WHERE (t.type, t.atom_id, t.triple_id, t.total_assets, t.total_market_cap, t.created_at, t.updated_at)
                IS DISTINCT FROM (excluded.type, excluded.atom_id, excluded.triple_id, excluded.total_assets, excluded.total_market_cap,
                        excluded.created_at, excluded.updated_at)
)
INSERT INTO term_outbox (term_id, block_number)
SELECT id, 0 FROM expected WHERE triple_id IS NOT NULL
UNION ALL
SELECT t.id, 0
FROM (SELECT unnest($1::text[]) EXCEPT SELECT e.id FROM expected e WHERE triple_id IS NOT NULL) k (id)
CROSS JOIN LATERAL (SELECT id FROM term x WHERE x.id = k.id AND x.triple_id IS NOT NULL OFFSET 0) t
