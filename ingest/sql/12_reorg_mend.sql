-- $1 a part of them, under the exclusive lock. How many rows moved.
SELECT event_settle(array_agg(block_number), array_agg(block_hash)) FROM audit_block WHERE part = $1::bigint
