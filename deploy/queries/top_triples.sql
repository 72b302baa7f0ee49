-- Which ten triples have the greatest market cap?
SELECT market_cap, position_count, id, left(subject, 30) AS subject, left(predicate, 20) AS predicate, left(object, 30) AS object
FROM api.triple
ORDER BY market_cap DESC
LIMIT 10;
-- The recording answers:
--         market_cap        | position_count |                                 id                                 |            subject             |   predicate   |             object
-- --------------------------+----------------+--------------------------------------------------------------------+--------------------------------+---------------+--------------------------------
--  502275449972380731769598 |             21 | 0x77182f9db9c85aed85b7c412d63e5ebba1c355dbc1679c9936a6a1ba7ba96d14 | 0x061d7a…206e                  | has tag       | 🌑 17
--  262834649241540433937539 |              4 | 0xc216069d23aceb91c0c588c5cb7f32edd96b32ef6364810401f78c9a955e87e0 | quote ' " ` ; DROP TABLE atoms | knows         | ipfs://bafyee4e483309a021907e0
--  196212610289286095309790 |              7 | 0xe495305976da3f19e7587a226d9305cb0a2e425348ad3f624ff816c36f1b1340 | atom 11 knows ipfs://Qmb44bc78 | I             | not (true follows knows)
--  187586493167183740601833 |             22 | 0x3058cb3a2259ec8d1207db38895496eacbf54ec95f2a3b7b0107a33cec06b69e | ipfs://Qmdad60cd0a1b978ffbc398 | follows       | follows
-- (10 rows)
