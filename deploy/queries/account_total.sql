-- What did an account gain in all, its closed positions included? :account, in any case
\if :{?account} \else \set account 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266 \endif
SELECT count(*) FILTER (WHERE shares > 0) AS open, count(*) FILTER (WHERE shares = 0) AS closed, sum(value) AS value, sum(profit) AS profit,
        sum(deposited) AS deposited, sum(redeemed) AS redeemed
FROM api.position
WHERE account = :'account';
-- The recording answers:
--  open | closed |           value           |          profit          |        deposited         |        redeemed
-- ------+--------+---------------------------+--------------------------+--------------------------+-------------------------
--   483 |     25 | 1131867660916724035218979 | 210175285054085687355141 | 986196414887730700930477 | 64504039025092353066639
-- (1 row)
