-- Who holds most of a vault, and what is it worth? :term, :curve
\if :{?term} \else \set term 0xb86a81eb749eed5791efa9d7dc72c7799be079a9e8db27c756d0cb653a699d1f \endif
\if :{?curve} \else \set curve 1 \endif
SELECT account, shares, value, profit
FROM api.position
WHERE term_id = :'term' AND curve_id = :'curve' AND shares > 0
ORDER BY shares DESC, account
LIMIT 10;
-- The recording answers:
--                   account                   |         shares          |          value          |        profit
-- --------------------------------------------+-------------------------+-------------------------+-----------------------
--  0x976EA74026E726554dB657fA54763abd0C3a0aa9 | 20063888113010595453748 | 62999580675522723685908 | 381856638520461818104
--  0xa0Ee7A142d267C1f36714E4a8F75612F20a79720 |   141682318866666653644 |   444875221963962686681 | 274536074961649283313
--  0x14dC79964da2C08b23698B3D3cc7Ca32193d9955 |   137717231376010488824 |   432425050399702673495 | 269901260398858254371
--  0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 |     5437558573077629844 |    17073655319097694867 |  11054295817972757709
-- (8 rows)
