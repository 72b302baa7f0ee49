-- $1 where the replay that follows begins
SELECT pipeline_reset($1)
