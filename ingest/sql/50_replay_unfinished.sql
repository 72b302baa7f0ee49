SELECT from_id, started_at FROM unfinished_replay
