-- $1 term ids whose buckets are locked. A vault whose last event a reorg took goes once its holders are folded to none, and nothing of its term
-- waits any more: what does may still name it. One that has become so since, and is somebody else's, has an outbox row that brings us here again.
DELETE FROM vault WHERE ctid = ANY (ARRAY(
        SELECT e.ctid
        FROM (SELECT DISTINCT term_id COLLATE "C" FROM unnest($1::text[]) u (term_id)) k (term_id)
        CROSS JOIN LATERAL (
                SELECT ctid FROM vault x
                WHERE x.term_id = k.term_id AND x.first_event_block IS NULL AND x.position_count = 0
                        AND NOT EXISTS (SELECT FROM vault_outbox o WHERE o.bucket = vault_bucket(x.term_id) AND x.term_id = ANY (o.term_ids))
                FOR UPDATE SKIP LOCKED) e
        WHERE EXISTS (SELECT FROM vault WHERE first_event_block IS NULL)))
