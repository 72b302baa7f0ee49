-- $1 program. The pipeline at a glance, as JSON; the program's own last verify (NULL where there was none): differences, seconds ago; the number and the
-- Unix time of the newest block that is stored (NULL where there is none); a stream of the pipeline in each row. The glance is a subquery, which
-- is run once: it reads both outboxes, a call would do so for each row.
WITH last_block AS MATERIALIZED (
        SELECT block_number AS number, time FROM (
                (SELECT block_number, coalesce(block_timestamp, created_at) AS time FROM atom_created_events ORDER BY block_number DESC LIMIT 1)
                UNION ALL
                (SELECT block_number, coalesce(block_timestamp, created_at) FROM triple_created_events ORDER BY block_number DESC LIMIT 1)
                UNION ALL
                (SELECT block_number, coalesce(block_timestamp, created_at) FROM deposited_events ORDER BY block_number DESC LIMIT 1)
                UNION ALL
                (SELECT block_number, coalesce(block_timestamp, created_at) FROM redeemed_events ORDER BY block_number DESC LIMIT 1)
                UNION ALL
                (SELECT block_number, coalesce(block_timestamp, created_at) FROM share_price_changed_events ORDER BY block_number DESC LIMIT 1)
                UNION ALL
                (SELECT block_number, coalesce(block_timestamp, created_at) FROM generic_events ORDER BY block_number DESC LIMIT 1)) newest
        ORDER BY block_number DESC LIMIT 1
), reorg AS MATERIALIZED ( -- notices under way, see ingest's 12_reorg_announce
        SELECT substring(application_name FROM 'block (\d+)')::bigint AS fork_block, substring(application_name FROM '(\d+) events')::bigint AS events
        FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^reorg from block \d+, \d+ events$'
)
SELECT (SELECT (pipeline_overview() || jsonb_build_object(
                'stages', '["ingest", "cascade", "analytics"]'::jsonb,
                'levels', '[["0 events", ["atom_created_events", "triple_created_events", "deposited_events", "redeemed_events",
                                "share_price_changed_events", "generic_events", "orphaned_events"]],
                        ["1 base", ["atom", "triple", "position", "vault"]], ["2 aggregates", ["term"]],
                        ["3 triples", ["triple_vault", "triple_term", "predicate_object", "subject_predicate"]]]'::jsonb,
                'last_block', (SELECT jsonb_build_object('number', number, 'time', time, 'age_s', extract(epoch FROM now() - time)) FROM last_block),
                'head_block', (SELECT head_block FROM chain_state),
                'reorgs_running', (SELECT coalesce(jsonb_agg(to_jsonb(r)), '[]') FROM reorg r)))::text),
        v.differences, extract(epoch FROM now() - v.finished_at)::bigint,
        (SELECT number FROM last_block), (SELECT extract(epoch FROM time)::bigint FROM last_block), s.stream
FROM (VALUES ($1::text)) p (program)
LEFT JOIN verify_result v ON v.program = p.program
LEFT JOIN pipeline_stream s ON s.seen_at > now() - interval '1 day'
ORDER BY s.stream
