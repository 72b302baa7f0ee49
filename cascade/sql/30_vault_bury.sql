-- $1 term ids, locked. A vault whose last event a reorg took goes once its holders are folded to none. 30_vault_fold locked those it saw; one
-- that has become so since, and is somebody else's, has an outbox row of its own that brings us here again.
DELETE FROM vault WHERE (term_id, curve_id) IN (
        SELECT term_id, curve_id FROM vault
        WHERE term_id = ANY ($1::text[]) AND first_event_block IS NULL AND position_count = 0
        FOR UPDATE SKIP LOCKED)
