-- Exclusively: whatever moves events between tables
SELECT event_lock(true)
