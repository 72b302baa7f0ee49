-- Makes predicate_object anew from triple_term, the rows that move it: a transaction that has moved one but not yet the other waits for our lock
-- and is not visible here.
WITH expected AS MATERIALIZED (
        SELECT counted_predicate_id AS predicate_id, counted_object_id AS object_id, count(*) AS triple_count,
                sum(total_position_count)::bigint AS total_position_count, sum(total_market_cap) AS total_market_cap
        FROM triple_term WHERE counted_predicate_id IS NOT NULL
        GROUP BY counted_predicate_id, counted_object_id
), gone AS (
        DELETE FROM predicate_object p
        WHERE NOT EXISTS (SELECT FROM expected e WHERE (e.predicate_id, e.object_id) = (p.predicate_id, p.object_id))
)
INSERT INTO predicate_object AS p (predicate_id, object_id, triple_count, total_position_count, total_market_cap)
SELECT predicate_id, object_id, triple_count, total_position_count, total_market_cap FROM expected
ON CONFLICT (predicate_id, object_id) DO UPDATE SET
        triple_count = excluded.triple_count, total_position_count = excluded.total_position_count, total_market_cap = excluded.total_market_cap
WHERE (p.triple_count, p.total_position_count, p.total_market_cap)
        IS DISTINCT FROM (excluded.triple_count, excluded.total_position_count, excluded.total_market_cap)
