-- Keeps writers out while predicate_object is made anew; readers are not disturbed.
LOCK TABLE predicate_object IN SHARE ROW EXCLUSIVE MODE
