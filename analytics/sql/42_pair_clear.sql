-- Pairs whose last triple went. A committed row never has count 0, so these are this transaction's own, locked already.
WITH gone AS (DELETE FROM predicate_object WHERE triple_count = 0)
DELETE FROM subject_predicate WHERE triple_count = 0
