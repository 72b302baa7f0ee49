-- What is said about a subject, and how much stands for and against each claim? :subject is an atom's or a triple's id
\if :{?subject} \else \set subject 0x7db59a2be3b82fc85bc201446c64a2af0db2f7d33483f613c27b4d2c0d36b559 \endif
SELECT v.for_it, v.against_it, v.holders_for, v.holders_against, t.id, left(t.predicate, 20) AS predicate, left(t.object, 40) AS object
FROM api.triple t
CROSS JOIN LATERAL (
        SELECT coalesce(sum(market_cap) FILTER (WHERE term_id = t.id), 0) AS for_it,
                coalesce(sum(market_cap) FILTER (WHERE term_id = t.counter_id), 0) AS against_it,
                coalesce(sum(position_count) FILTER (WHERE term_id = t.id), 0) AS holders_for,
                coalesce(sum(position_count) FILTER (WHERE term_id = t.counter_id), 0) AS holders_against
        FROM api.vault WHERE term_id IN (t.id, t.counter_id)) v
WHERE t.subject_id = :'subject'
ORDER BY t.market_cap DESC, t.id;
-- The recording answers:
--          for_it          |      against_it       | holders_for | holders_against |                                 id                                 | predicate |   object
-- -------------------------+-----------------------+-------------+-----------------+--------------------------------------------------------------------+-----------+------------
--  27969166807874000616614 | 283406292278109264371 |          15 |               4 | 0x7f86bf4903fb13de2dcc1b55918c80abbecded7e98efc66d57981911f24f31a0 | follows   | is a
--      1465614000375243793 |   1415998928859201008 |           1 |               1 | 0x66f3fdc4c310d7eeb7a91e704c8ad1e2a32304c60a2748c3dcd9fd8bda3e4dfb | follows   | user89.eth
--      1072499530017744535 |   1318680001636253035 |           2 |               2 | 0x673a38b17c154da274ec5465ba3b1a3ccd08179e4f30a9eba8fde180994627aa | is a      | atom 83
-- (3 rows)
