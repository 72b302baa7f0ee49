-- Events of the streams, in the order of columns that event_columns gives; settled, place.
COPY audit_triple_created_events FROM STDIN (FORMAT binary)
