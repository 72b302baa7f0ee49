-- The triples whose triple_vault or triple_term rows differ from their definition. Some may only be under way: to make those anew is right, too.
SELECT term_id, counter_term_id FROM (
        SELECT term_id, counter_term_id
        FROM (SELECT term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap FROM triple_vault_expected) expected
        FULL JOIN (SELECT term_id, counter_term_id, curve_id, total_shares, total_assets, position_count, market_cap FROM triple_vault) actual
                USING (term_id, counter_term_id, curve_id)
        WHERE expected IS DISTINCT FROM actual
        UNION
        SELECT term_id, counter_term_id
        FROM (SELECT term_id, counter_term_id, total_assets, total_market_cap, total_position_count,
                        subject_id, predicate_id, object_id FROM triple_term_expected) expected
        FULL JOIN (SELECT term_id, counter_term_id, total_assets, total_market_cap, total_position_count,
                        counted_subject_id, counted_predicate_id, counted_object_id FROM triple_term) actual USING (term_id, counter_term_id)
        WHERE expected IS DISTINCT FROM actual
) differing
ORDER BY term_id, counter_term_id
