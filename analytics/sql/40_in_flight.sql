SELECT count(*) FROM (SELECT term_id FROM vault_outbox UNION SELECT term_id FROM term_outbox) waiting
