-- Who holds most of a vault, and what is it worth? :term, :curve
\if :{?term} \else \set term 0x9000a51c4357951673a71259208bed9eb8af1fbd2b9630c7c77b4a5de3c62836 \endif
\if :{?curve} \else \set curve 2 \endif
SELECT account, shares, value, profit
FROM api.position
WHERE term_id = :'term' AND curve_id = :'curve' AND shares > 0
ORDER BY shares DESC, account
LIMIT 10;
-- The recording answers:
--                   account                   |         shares         |          value           |          profit
-- --------------------------------------------+------------------------+--------------------------+--------------------------
--  0x59b670e9fA9D0A427751Af201D676719a970857b | 1645252607668566034476 | 275936019937096681826302 | 135548703414095874939710
--  0x90F79bf6EB2c4f870365E785982E1f101E93b906 |     815707463153684152 |    136807606179437361255 |        64802176845155726
--  0xa0Ee7A142d267C1f36714E4a8F75612F20a79720 |     661002103777091752 |    110860963742682320312 |    108856111242291091895
--  0x976EA74026E726554dB657fA54763abd0C3a0aa9 |     398626211887835094 |     66856195722310263545 |         2047591252244668
-- (9 rows)
