-- Which vaults changed their price in block :block or later, and what is it now?
\if :{?block} \else \set block 475 \endif
SELECT last_block, share_price, total_shares, market_cap, term_id, curve_id, left(label, 40) AS label
FROM (SELECT term_id, curve_id, max(block_number) AS last_block FROM api.price WHERE block_number >= :block GROUP BY term_id, curve_id) changed
JOIN api.vault USING (term_id, curve_id)
ORDER BY last_block DESC, term_id, curve_id;
-- The recording answers:
--  last_block |      share_price      |     total_shares      |        market_cap        |                              term_id                               | curve_id |                  label
-- ------------+-----------------------+-----------------------+--------------------------+--------------------------------------------------------------------+----------+------------------------------------------
--         476 |   1000000000000000000 |               1000000 |                  1000000 | 0x00ba1367a4d3d1da834ef7089450fedf93993a9e96a78b04e51397af945f5017 | 1        | big 7 0 58 xxxxxxxxxxxxxxxxxxxxxxxxxxxxx
--         476 |   2287971404656328738 |  86564700414998213955 |    198057559202157746819 | 0x426c5544abacbd24c1e265cf1daf885d3f3de2d67ab2860f55ab4ad6cfbc4f55 | 1        | ipfs://bafkreigh2akiscaildcqabsyg3dfr6ch
--         476 |   1132141574847083058 |   8847128029535553729 |     10016201460232152553 | 0x580d92730e8d5257016af1fbb353af8c3ac5bc859a03404eaf6075c8b38df356 | 1        | 0xae14c4…f7b6 follows Intuition
--         476 |   3274446172637364618 |   2744461726373646188 |      8986592195873920002 | 0x580d92730e8d5257016af1fbb353af8c3ac5bc859a03404eaf6075c8b38df356 | 2        | 0xae14c4…f7b6 follows Intuition
-- (13 rows)
