-- How many changes the outboxes still hold for cascade and analytics: 0 when every level is up to date.
SELECT (SELECT count(*) FROM vault_outbox) + (SELECT count(*) FROM term_outbox);
