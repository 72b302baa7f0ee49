-- Makes subject_predicate anew from triple_term, the rows that move it: a transaction that has moved one but not yet the other waits for our lock
-- and is not visible here.
WITH expected AS MATERIALIZED (
        SELECT counted_subject_id AS subject_id, counted_predicate_id AS predicate_id, count(*) AS triple_count,
                sum(total_position_count)::bigint AS total_position_count, sum(total_market_cap) AS total_market_cap
        FROM triple_term WHERE counted_predicate_id IS NOT NULL
        GROUP BY counted_subject_id, counted_predicate_id
), gone AS (
        DELETE FROM subject_predicate p
        WHERE NOT EXISTS (SELECT FROM expected e WHERE (e.subject_id, e.predicate_id) = (p.subject_id, p.predicate_id))
)
INSERT INTO subject_predicate AS p (subject_id, predicate_id, triple_count, total_position_count, total_market_cap)
SELECT subject_id, predicate_id, triple_count, total_position_count, total_market_cap FROM expected
ON CONFLICT (subject_id, predicate_id) DO UPDATE SET
        triple_count = excluded.triple_count, total_position_count = excluded.total_position_count, total_market_cap = excluded.total_market_cap
WHERE (p.triple_count, p.total_position_count, p.total_market_cap)
        IS DISTINCT FROM (excluded.triple_count, excluded.total_position_count, excluded.total_market_cap)
