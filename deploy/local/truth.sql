-- Compares positions and vaults with what the contract itself answered at the recording's last block (getShares, getVault).
-- Where the tables hold more events than the recording (live blocks, or the user's own) there is nothing to compare with.
-- Run with psql from the project's folder; fails when anything differs, a missing or surplus row included.
\set QUIET on
\set ON_ERROR_STOP on
\set VERBOSITY terse
\set truth `xz -dc tests/data/recording.truth.json.xz`

CREATE TEMP TABLE truth AS SELECT :'truth'::jsonb AS answers;

SELECT (SELECT count(*) FROM deposited_events) + (SELECT count(*) FROM redeemed_events) + (SELECT count(*) FROM share_price_changed_events)
        > (SELECT sum((answers->'logCounts'->>name)::int) FROM truth, unnest('{Deposited,Redeemed,SharePriceChanged}'::text[]) name) AS more \gset
\if :more
SELECT '  not compared with the contract''s answers: the tables hold more events than the recording (--fresh starts anew)';
\quit
\endif

CREATE TEMP TABLE compared AS
SELECT 'balances' AS what, account_id, term_id, curve_id, true_shares IS DISTINCT FROM shares AS differs,
        concat_ws(' ', 'shares', shares, 'contract', true_shares) AS detail
FROM position ours
FULL JOIN (
        SELECT account AS account_id, "termId" AS term_id, "curveId" AS curve_id, shares AS true_shares
        FROM truth, jsonb_to_recordset(answers->'shares') AS r(account text, "termId" text, "curveId" text, shares numeric)
) theirs USING (account_id, term_id, curve_id);

INSERT INTO compared
SELECT 'vaults', NULL, term_id, curve_id,
        (total_assets, total_shares, current_share_price) IS DISTINCT FROM (true_assets, true_shares, true_price),
        format('assets, shares, price (%s, %s, %s) contract (%s, %s, %s)', total_assets, total_shares, current_share_price,
                true_assets, true_shares, true_price)
FROM vault ours
FULL JOIN (
        SELECT "termId" AS term_id, "curveId" AS curve_id, "totalAssets" AS true_assets, "totalShares" AS true_shares,
                "sharePrice" AS true_price
        FROM truth, jsonb_to_recordset(answers->'vaults')
                AS r("termId" text, "curveId" text, "totalAssets" numeric, "totalShares" numeric, "sharePrice" numeric)
) theirs USING (term_id, curve_id);

SELECT format('  %s %s compared with the contract''s answers, %s differ', count(*), what, count(*) FILTER (WHERE differs))
FROM compared GROUP BY what ORDER BY what;
SELECT '  ' || concat_ws(' ', 'differs:', account_id, term_id, curve_id, detail) FROM compared WHERE differs LIMIT 10;

DO $$
BEGIN
        IF (SELECT count(DISTINCT what) <> 2 OR bool_or(differs) FROM compared) THEN
                RAISE EXCEPTION 'the tables differ from the contract''s answers';
        END IF;
END
$$;
