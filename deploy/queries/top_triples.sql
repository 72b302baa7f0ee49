-- The ten triples with the greatest market cap, with what their parts say.
SELECT s.data AS subject, p.data AS predicate, o.data AS object, tt.total_market_cap, tt.total_position_count, tt.term_id
FROM triple_term tt
JOIN triple t ON t.term_id = tt.term_id
LEFT JOIN atom s ON s.term_id = t.subject_id
LEFT JOIN atom p ON p.term_id = t.predicate_id
LEFT JOIN atom o ON o.term_id = t.object_id
ORDER BY tt.total_market_cap DESC
LIMIT 10;
