-- Waits for everyone who is writing triples. An outbox row that means no triple may be about one that was taken away while another worker,
-- who still saw it, is just making its rows: once that worker has committed they are seen, and removed.
LOCK TABLE triple_term IN SHARE MODE
