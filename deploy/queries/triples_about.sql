-- What is said about a subject: its triples by market cap. :subject is an atom's or a triple's id.
SELECT t.term_id, t.predicate_id, t.object_id, tt.total_market_cap, tt.total_position_count
FROM triple t
JOIN triple_term tt ON tt.term_id = t.term_id
WHERE t.subject_id = :'subject'
ORDER BY tt.total_market_cap DESC;
