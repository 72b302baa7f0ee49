SELECT count(DISTINCT term_id) FROM vault_waiting
