SELECT pair_rebuild('predicate_object', 'predicate_id', 'object_id'), pair_rebuild('subject_predicate', 'subject_id', 'predicate_id')
