-- $1 where a replay that is through began: ends the unfinished one that it covers
DELETE FROM unfinished_replay WHERE $1 = '-' OR from_id = $1
