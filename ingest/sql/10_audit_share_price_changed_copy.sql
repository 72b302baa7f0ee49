-- Events of the streams, in the order of columns that event_columns gives; settled, place.
COPY audit_share_price_changed_events FROM STDIN (FORMAT binary)
