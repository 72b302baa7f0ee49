-- What is said about a subject? :subject is an atom's or a triple's id. With a predicate or an object: predicate_id or object_id instead of subject_id
\if :{?subject} \else \set subject 0x7db59a2be3b82fc85bc201446c64a2af0db2f7d33483f613c27b4d2c0d36b559 \endif
SELECT market_cap, position_count, id, left(predicate, 20) AS predicate, left(object, 40) AS object
FROM api.triple
WHERE subject_id = :'subject'
ORDER BY market_cap DESC, id;
-- The recording answers:
--        market_cap        | position_count |                                 id                                 | predicate |   object
-- -------------------------+----------------+--------------------------------------------------------------------+-----------+------------
--  28252573100152109880985 |             19 | 0x7f86bf4903fb13de2dcc1b55918c80abbecded7e98efc66d57981911f24f31a0 | follows   | is a
--      2881612929234444801 |              2 | 0x66f3fdc4c310d7eeb7a91e704c8ad1e2a32304c60a2748c3dcd9fd8bda3e4dfb | follows   | user89.eth
--      2391179531653997570 |              4 | 0x673a38b17c154da274ec5465ba3b1a3ccd08179e4f30a9eba8fde180994627aa | is a      | atom 83
-- (3 rows)
