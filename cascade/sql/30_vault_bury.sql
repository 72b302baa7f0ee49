-- $1 term ids, locked. A vault whose last event a reorg took goes once its holders are folded to none.
DELETE FROM vault WHERE term_id = ANY ($1::text[]) AND last_event_block IS NULL AND position_count = 0
