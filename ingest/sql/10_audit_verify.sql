-- $1 an event table. Table, key and difference of each row that is not as its stream has it.
SELECT $1, 'transaction_hash=' || transaction_hash || ' log_index=' || log_index,
        CASE WHEN verdict = 'missing' AND EXISTS (SELECT FROM event_sighting s WHERE (s.source_table, s.transaction_hash, s.log_index, s.block_hash)
                        = ($1, a.transaction_hash, a.log_index, a.expected ->> 'block_hash'))
                THEN format('its sighting at stream=%s id=%s-%s is missing', expected ->> 'stream', expected ->> 'stream_ms', expected ->> 'stream_seq')
                ELSE row_difference(event_content(expected), event_content(actual)) END
FROM event_audit($1, NULL) a
