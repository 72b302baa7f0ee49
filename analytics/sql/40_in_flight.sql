SELECT count(*) FROM (SELECT term_id FROM vault_waiting UNION SELECT term_id FROM term_outbox) waiting
