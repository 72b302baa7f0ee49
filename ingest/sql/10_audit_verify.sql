-- $1 an event table. Table, key and difference of each row that is not as its stream has it.
SELECT $1, 'transaction_hash=' || transaction_hash || ' log_index=' || log_index, difference FROM event_audit($1)
