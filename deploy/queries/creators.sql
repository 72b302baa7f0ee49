-- Which ten accounts created the most atoms? It reads all atoms
SELECT creator, count(*) AS atoms, min(created_at) AS first, max(created_at) AS last
FROM api.atom
GROUP BY creator
ORDER BY atoms DESC, creator COLLATE "C"
LIMIT 10;
-- The recording answers:
--                   creator                   | atoms |         first          |          last
-- --------------------------------------------+-------+------------------------+------------------------
--  0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 |   165 | 2026-10-22 12:58:01+00 | 2026-11-03 13:00:22+00
--  0x14dC79964da2C08b23698B3D3cc7Ca32193d9955 |   160 | 2026-10-22 13:44:14+00 | 2026-11-03 12:46:35+00
--  0x70997970C51812dc3A010C7d01b50e0d17dc79C8 |   142 | 2026-10-22 14:08:11+00 | 2026-11-03 10:52:37+00
--  0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65 |   133 | 2026-10-22 13:09:49+00 | 2026-11-03 12:00:41+00
-- (10 rows)
