-- Keeps writers out while subject_predicate is made anew; readers are not disturbed.
LOCK TABLE subject_predicate IN SHARE ROW EXCLUSIVE MODE
