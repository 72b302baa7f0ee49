-- $1 numbers of buckets, locked; $2 the only terms of them to do, or NULL: all that these buckets' outbox rows hold; $3 so many rows at
-- most, bucket by bucket. Takes the rows and adds what they say to the vaults' numbers of holders: both or neither; of a row with other terms these
-- stay. Vaults that a reorg left without events are written with the others, in order: 30_vault_bury is next. Returns the terms, and in each row
-- how many outbox rows were taken. LATERAL, OFFSET 0 and ON CONFLICT: by key, whatever the planner thinks of tables that were empty.
-- While somebody holds an old snapshot (pg_dump), no row that was taken can be vacuumed. So that these are not read again and again, a session keeps
-- for each bucket the xid below which it has left nothing: every transaction below it was over. With this one's commit only, and never for long:
-- another session begins at 0, and a table made anew, or another schema's, has a number of its own.
WITH gone AS (
        DELETE FROM vault_outbox WHERE ctid = ANY (ARRAY(
                SELECT o.ctid
                FROM (SELECT DISTINCT unnest($1::bigint[]) ORDER BY 1) k (b) CROSS JOIN LATERAL (
                        SELECT ctid, term_ids FROM vault_outbox
                        WHERE bucket = b AND xid >= coalesce(nullif(current_setting('vault_outbox.left_nothing_' || pg_relation_filenode('vault_outbox') || '_' || b, true), ''), '0')::xid8 OFFSET 0) o
                WHERE $2::text[] IS NULL OR EXISTS (SELECT FROM unnest(o.term_ids) t (id) WHERE (id IN (SELECT unnest($2::text[]))) IS TRUE)
                LIMIT $3::bigint
        ))
        RETURNING bucket, term_ids, curve_ids, position_deltas, block_number, created_at
), change AS (
        SELECT g.bucket, k.term_id, k.curve_id, k.position_delta, g.block_number, g.created_at,
                $2::text[] IS NULL OR k.term_id IN (SELECT unnest($2::text[])) AS ours
        FROM gone g CROSS JOIN LATERAL unnest(g.term_ids, g.curve_ids, g.position_deltas) k (term_id, curve_id, position_delta)
), left_there AS (
        INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number, created_at)
        SELECT bucket, array_agg(term_id), array_agg(curve_id), array_agg(position_delta), block_number, created_at
        FROM change WHERE NOT ours
        GROUP BY bucket, block_number, created_at
), counted AS ( -- a vault of a position is there by construction: this inserts none
        INSERT INTO vault AS v (term_id, curve_id, position_count, vault_type, created_at, updated_at)
        SELECT term_id, curve_id, sum(delta)::bigint, '0', now(), now()
        FROM (
                SELECT term_id, curve_id, position_delta AS delta, false AS is_empty FROM change WHERE ours AND position_delta <> 0
                UNION ALL
                SELECT e.term_id, e.curve_id, 0, true
                FROM (SELECT DISTINCT term_id FROM change WHERE ours) c
                CROSS JOIN LATERAL (
                        SELECT term_id, curve_id FROM vault x WHERE x.term_id = c.term_id AND x.first_event_block IS NULL OFFSET 0) e
                WHERE EXISTS (SELECT FROM vault WHERE first_event_block IS NULL)
        ) k
        GROUP BY term_id, curve_id HAVING sum(delta) <> 0 OR bool_or(is_empty)
        ORDER BY term_id, curve_id
        ON CONFLICT (term_id, curve_id) DO UPDATE SET position_count = v.position_count + excluded.position_count
)
SELECT DISTINCT term_id, (SELECT count(*) FROM gone),
        (SELECT count(set_config('vault_outbox.left_nothing_' || pg_relation_filenode('vault_outbox') || '_' || b, pg_snapshot_xmin(pg_current_snapshot())::text, false)) FROM unnest($1::bigint[]) b
                WHERE $2::text[] IS NULL AND (SELECT count(*) FROM gone) < $3::bigint)
FROM change WHERE ours
