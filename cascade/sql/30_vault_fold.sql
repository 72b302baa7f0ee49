-- $1 numbers of buckets, locked; $2 the only terms of them to do, or NULL: all that these buckets' outbox rows hold; $3 so many rows at
-- most, bucket by bucket. Takes the rows and adds what they say to the vaults' numbers of holders: both or neither; of a row with other terms these
-- stay. Vaults that a reorg left without events are written with the others, in order: 30_vault_bury is next. Returns the terms, and in each row
-- how many outbox rows were taken. LATERAL, OFFSET 0 and ON CONFLICT: by key, whatever the planner thinks of tables that were empty.
WITH gone AS (
        DELETE FROM vault_outbox WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM vault_outbox
                WHERE bucket = ANY ($1::bigint[])
                        AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest(term_ids) t (id) WHERE (id IN (SELECT unnest($2::text[]))) IS TRUE))
                ORDER BY bucket LIMIT $3::bigint
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
), told AS ( -- a triple that came and went again before its term was made: nothing but this row says so
        INSERT INTO term_outbox (term_id, block_number)
        SELECT c.term_id, 0
        FROM (SELECT DISTINCT term_id FROM change WHERE ours AND curve_id IS NULL) c
        LEFT JOIN LATERAL (SELECT true AS found FROM atom a WHERE a.term_id = c.term_id OFFSET 0) a ON true
        LEFT JOIN LATERAL (SELECT true AS found FROM triple t WHERE a.found IS NULL AND t.term_id = c.term_id OFFSET 0) t ON true
        LEFT JOIN LATERAL (
                SELECT true AS found FROM triple t WHERE a.found IS NULL AND t.counter_term_id = c.term_id LIMIT 1) counter ON true
        WHERE num_nonnulls(a.found, t.found, counter.found) = 0
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
SELECT DISTINCT term_id, (SELECT count(*) FROM gone) FROM change WHERE ours
