DELETE FROM subject_predicate WHERE triple_count = 0
