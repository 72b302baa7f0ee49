-- Rows of term that differ from their definition. $1: look at one key in so many (1: all).
-- Keys that an outbox still names are under way and left out.
WITH flying AS MATERIALIZED (SELECT DISTINCT term_id FROM vault_waiting)
SELECT 'term', 'id=' || id, row_difference(to_jsonb(expected), to_jsonb(actual)), id
FROM (
        SELECT
                id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at
        FROM term_expected WHERE hashtext(id) % $1::int = 0
) expected
FULL JOIN (
        SELECT
                id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at
        FROM term t WHERE hashtext(id) % $1::int = 0
) actual USING (id)
WHERE expected IS DISTINCT FROM actual
        AND id NOT IN (SELECT term_id FROM flying)
