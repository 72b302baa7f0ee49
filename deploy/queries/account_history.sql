-- What did an account deposit and redeem? (As receiver; another may have sent it.) Newest first. :account, in any case
\if :{?account} \else \set account 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266 \endif
SELECT block_number, log_index, kind, assets, fees, transaction_hash, curve_id, left(label, 40) AS label
FROM api.activity
WHERE account = :'account';
-- The recording answers:
--  block_number | log_index |    kind    |          assets          |          fees          |                          transaction_hash                          | curve_id |                                      label
-- --------------+-----------+------------+--------------------------+------------------------+--------------------------------------------------------------------+----------+----------------------------------------------------------------------------------
--           474 |        18 | redemption |    142924606005414973057 |    2619799295414938407 | 0xa20ff320cee12c91ad45905bdedc7222326bcf510374af5a14dcc98c612c9814 | 1        | 0x061d7a…206e follows 0xb54870…d9ee
--           474 |        14 | redemption |      2687945552263344860 |      49269877740061312 | 0xa20ff320cee12c91ad45905bdedc7222326bcf510374af5a14dcc98c612c9814 | 1        | ipfs://bafy01984c165ad9631f5ca3c01a2ed98
--           474 |        10 | deposit    |        10000000000000000 |        150000000000000 | 0x145929ca5bcd8a76e525967fe03b58e9805dfbf08e5414fefc0889338ea90bcb | 2        | \
--           468 |         8 | redemption |       393227203954322555 |       3971991959134572 | 0x59188842e82a53bb72cf8f09aca37dfb0ed82b2fc160837cd3539ab45c282310 | 1        | ipfs://bafy6ecc53402a54b0bf40e85613bedb7
-- (777 rows)
