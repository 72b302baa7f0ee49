-- $1 term ids, locked in an earlier statement. Makes the rows as term_expected says and tells analytics of those that are, or were, a
-- triple's.
WITH expected AS MATERIALIZED (
        SELECT * FROM term_expected WHERE id = ANY ($1::text[])
), gone AS (
        DELETE FROM term t USING (SELECT unnest($1::text[]) EXCEPT SELECT e.id FROM expected e) k (id) WHERE t.id = k.id
), kept AS (
        UPDATE term t SET
                type = e.type, atom_id = e.atom_id, triple_id = e.triple_id, total_assets = e.total_assets,
                total_market_cap = e.total_market_cap, created_at = e.created_at, updated_at = e.updated_at
        FROM expected e
        WHERE t.id = e.id
                AND (t.type, t.atom_id, t.triple_id, t.total_assets, t.total_market_cap, t.created_at, t.updated_at)
                IS DISTINCT FROM (e.type, e.atom_id, e.triple_id, e.total_assets, e.total_market_cap, e.created_at, e.updated_at)
)
INSERT INTO term_outbox (term_id, block_number)
SELECT id, 0 FROM expected WHERE triple_id IS NOT NULL
UNION ALL
SELECT t.id, 0
FROM (SELECT unnest($1::text[]) EXCEPT SELECT e.id FROM expected e WHERE triple_id IS NOT NULL) k (id)
JOIN term t ON t.id = k.id AND t.triple_id IS NOT NULL
