SELECT count(*) FROM term_waiting
