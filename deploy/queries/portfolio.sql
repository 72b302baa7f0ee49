-- What does an account hold, what is it worth at the current prices, and what did it gain? :account, in any case
\if :{?account} \else \set account 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266 \endif
SELECT value, profit, deposited, redeemed, shares, term_id, curve_id, left(label, 40) AS label
FROM api.position
WHERE account = :'account' AND shares > 0
ORDER BY value DESC, term_id, curve_id;
-- The recording answers:
--           value           |          profit          |        deposited         |        redeemed         |          shares          |                              term_id                               | curve_id |                                      label
-- --------------------------+--------------------------+--------------------------+-------------------------+--------------------------+--------------------------------------------------------------------+----------+----------------------------------------------------------------------------------
--  383568969628738933486112 | 188966286628738936423113 | 194602682999999997062999 |                       0 |   1943056932782223609585 | 0xa23144cff4b9e5cb3a2d33aac984a17f47378cee90c32d1c68729c7125ed19ce | 2        | Thing 31
--  187213146102352288279630 |   1146270201350939826938 | 186066875901001348452692 |                       0 | 123665012130571649367708 | 0x3058cb3a2259ec8d1207db38895496eacbf54ec95f2a3b7b0107a33cec06b69e | 1        | ipfs://Qmdad60cd0a1b978ffbc398a8018ffcc6
--  175255640090143150141451 |   1071890090143150141451 | 174183750000000000000000 |                       0 | 174183750000000000000000 | 0x8161151264ff4bd7443c33b27ba771f54e4ab02606eee37260cd57d3396051e6 | 1        | not (did:pkh:eip155:1:0x731dc163f73d31d8
--  168802772688529514130147 |    701904035524844190320 | 168100868653004669939827 |                       0 | 114419969782737347433818 | 0x7ab197b346d386cd5926dbfeeb85dade42f113c7ed99ff2046a5123bb5cd016b | 1        | I
-- (483 rows)
