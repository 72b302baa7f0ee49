-- The terms whose row, or whose vaults' number of holders or market cap, differ from their definition. Some may only be under way: to make
-- those anew is right, too.
SELECT term_id FROM (
        SELECT term_id
        FROM (SELECT term_id, curve_id, position_count, market_cap FROM vault_count_expected) expected
        FULL JOIN (SELECT term_id, curve_id, position_count, market_cap FROM vault) actual USING (term_id, curve_id)
        WHERE expected IS DISTINCT FROM actual
        UNION
        SELECT id
        FROM (SELECT id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at FROM term_expected) expected
        FULL JOIN (SELECT id, type, atom_id, triple_id, total_assets, total_market_cap, created_at, updated_at FROM term) actual USING (id)
        WHERE expected IS DISTINCT FROM actual
) differing
ORDER BY term_id
