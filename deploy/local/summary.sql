-- What came out, for people: rows per table, and the triples with the greatest market cap.
\set QUIET on
\pset pager off
\pset footer off
\pset border 0
\pset null ''

SELECT level, "table", rows FROM (VALUES
        (10, '0 events', 'atom_created_events', (SELECT count(*) FROM atom_created_events)),
        (11, '', 'triple_created_events', (SELECT count(*) FROM triple_created_events)),
        (12, '', 'deposited_events', (SELECT count(*) FROM deposited_events)),
        (13, '', 'redeemed_events', (SELECT count(*) FROM redeemed_events)),
        (14, '', 'share_price_changed_events', (SELECT count(*) FROM share_price_changed_events)),
        (15, '', 'generic_events', (SELECT count(*) FROM generic_events)),
        (20, '1 base', 'atom', (SELECT count(*) FROM atom)),
        (21, '', 'triple', (SELECT count(*) FROM triple)),
        (22, '', 'position', (SELECT count(*) FROM position)),
        (23, '', 'vault', (SELECT count(*) FROM vault)),
        (30, '2 aggregates', 'term', (SELECT count(*) FROM term)),
        (40, '3 triples', 'triple_vault', (SELECT count(*) FROM triple_vault)),
        (41, '', 'triple_term', (SELECT count(*) FROM triple_term)),
        (42, '', 'predicate_object', (SELECT count(*) FROM predicate_object)),
        (43, '', 'subject_predicate', (SELECT count(*) FROM subject_predicate))
) AS t(place, level, "table", rows) ORDER BY place;

\echo 'The most valuable triples (market cap in whole tokens of 10^18):'
-- An atom shows its text, or the name in its JSON; an atom of other bytes, and a triple used as an atom, show their id.
CREATE FUNCTION pg_temp.label(id text) RETURNS text LANGUAGE sql AS $$
        SELECT CASE WHEN length(text) > 28 THEN left(text, 27) || '…' ELSE text END
        FROM (SELECT coalesce(
                (SELECT regexp_replace(coalesce(label, substring(data FROM '"name"\s*:\s*"([^"\\]+)"'), nullif(data, '')), '[[:cntrl:]]+', ' ', 'g')
                FROM atom WHERE term_id = id),
                CASE WHEN EXISTS (SELECT FROM triple WHERE id IN (term_id, counter_term_id)) THEN 'triple ' ELSE 'atom ' END || left(id, 10) || '…'
        )) AS found(text)
$$;
SELECT to_char(tt.total_market_cap / 1e18, 'FM999,999,999,999,999,990.000') AS "market cap", tt.total_position_count AS positions,
        pg_temp.label(t.subject_id) AS subject, pg_temp.label(t.predicate_id) AS predicate, pg_temp.label(t.object_id) AS object
FROM triple_term tt JOIN triple t USING (term_id)
ORDER BY tt.total_market_cap DESC, t.term_id LIMIT 5;
