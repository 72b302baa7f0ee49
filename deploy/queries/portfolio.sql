-- What an account holds, at today's prices. :account is its address as the tables have it (EIP-55).
SELECT p.term_id, p.curve_id, coalesce(te.type, 'Unknown') AS type, p.shares, v.current_share_price, div(p.shares * v.current_share_price, 1000000000000000000) AS value,
        p.total_deposit_assets_after_total_fees AS paid_in, p.total_redeem_assets_for_receiver AS paid_out
FROM position p
JOIN vault v ON (v.term_id, v.curve_id) = (p.term_id, p.curve_id)
LEFT JOIN term te ON te.id = p.term_id -- cascade may not have been there yet
WHERE p.account_id = :'account' AND p.shares > 0
ORDER BY value DESC;
