-- A reconciling has come to its end: $1 the last block it looked at, $2 the head, $3 how many notices there were when it began. Notices
-- since then wait for the next one. $4 whether it went back to the fork block of those there were.
UPDATE chain_state SET reconciled_block = greatest(reconciled_block, $1::bigint), head_block = $2::bigint, reconciled_at = clock_timestamp(), trouble = NULL,
        notice_fork = CASE WHEN $4::boolean AND notices = $3::bigint THEN NULL ELSE notice_fork END
