-- $1, $2 triples (term, counter term), locked in an earlier statement. Their pairs move by the difference between new and old: a pair of
-- fifty thousand triples costs no more than one of ten. Pairs are locked in order, predicate_object before subject_predicate. A triple that went
-- away since 40_triple_vault_recompute takes its triple_vault rows along: nothing leads to them once its triple_term row is gone.
WITH key AS MATERIALIZED (
        SELECT DISTINCT a COLLATE "C" AS term_id, b COLLATE "C" AS counter_term_id FROM unnest($1::text[], $2::text[]) k (a, b)
), expected AS MATERIALIZED (
        SELECT e.* FROM key k CROSS JOIN LATERAL (
                SELECT * FROM triple_term_expected x
                WHERE x.term_id = k.term_id AND x.counter_term_id = k.counter_term_id OFFSET 0) e
), old AS MATERIALIZED (
        SELECT t.* FROM key k CROSS JOIN LATERAL (
                SELECT * FROM triple_term x WHERE x.term_id = k.term_id AND x.counter_term_id = k.counter_term_id OFFSET 0) t
), missing AS MATERIALIZED (
        SELECT term_id, counter_term_id FROM key EXCEPT SELECT term_id, counter_term_id FROM expected
), gone AS (
        DELETE FROM triple_term t USING missing k WHERE (t.term_id, t.counter_term_id) = (k.term_id, k.counter_term_id)
), gone_vaults AS (
        DELETE FROM triple_vault v USING missing k WHERE (v.term_id, v.counter_term_id) = (k.term_id, k.counter_term_id)
), kept AS (
        UPDATE triple_term t SET
                total_assets = e.total_assets, total_market_cap = e.total_market_cap, total_position_count = e.total_position_count,
                counted_subject_id = e.counted_subject_id, counted_predicate_id = e.counted_predicate_id, counted_object_id = e.counted_object_id
        FROM expected e
        WHERE (t.term_id, t.counter_term_id) = (e.term_id, e.counter_term_id)
                AND (t.total_assets, t.total_market_cap, t.total_position_count,
                        t.counted_subject_id, t.counted_predicate_id, t.counted_object_id)
                IS DISTINCT FROM (e.total_assets, e.total_market_cap, e.total_position_count,
                        e.counted_subject_id, e.counted_predicate_id, e.counted_object_id)
), delta AS MATERIALIZED (
        SELECT counted_subject_id AS subject_id, counted_predicate_id AS predicate_id, counted_object_id AS object_id, 1 AS triples,
                total_position_count AS positions, total_market_cap AS market_cap
        FROM expected
        UNION ALL
        SELECT counted_subject_id, counted_predicate_id, counted_object_id, -1, -total_position_count, -total_market_cap
        FROM old WHERE counted_predicate_id IS NOT NULL
), pairs AS (
        INSERT INTO predicate_object AS p (predicate_id, object_id, triple_count, total_position_count, total_market_cap)
        SELECT predicate_id, object_id, sum(triples), sum(positions), sum(market_cap)
        FROM delta
        GROUP BY predicate_id, object_id
        HAVING sum(triples) <> 0 OR sum(positions) <> 0 OR sum(market_cap) <> 0
        ORDER BY predicate_id, object_id
        ON CONFLICT (predicate_id, object_id) DO UPDATE SET
                triple_count = p.triple_count + excluded.triple_count,
                total_position_count = p.total_position_count + excluded.total_position_count,
                total_market_cap = p.total_market_cap + excluded.total_market_cap
        RETURNING 1
)
INSERT INTO subject_predicate AS s (subject_id, predicate_id, triple_count, total_position_count, total_market_cap)
SELECT subject_id, predicate_id, sum(triples), sum(positions), sum(market_cap)
FROM delta
WHERE (SELECT count(*) FROM pairs) >= 0 -- makes all of pairs happen first
GROUP BY subject_id, predicate_id
HAVING sum(triples) <> 0 OR sum(positions) <> 0 OR sum(market_cap) <> 0
ORDER BY subject_id, predicate_id
ON CONFLICT (subject_id, predicate_id) DO UPDATE SET
        triple_count = s.triple_count + excluded.triple_count,
        total_position_count = s.total_position_count + excluded.total_position_count,
        total_market_cap = s.total_market_cap + excluded.total_market_cap
