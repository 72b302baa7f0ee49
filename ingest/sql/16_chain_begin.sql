-- Before a service that reconciles takes events: where no reconciling has ever come to its end, it begins at the last block of which an event is
-- stored. Later there may be newer ones behind a gap.
UPDATE chain_state SET reconciled_block = (SELECT max(block_number) FROM event_standing WHERE source_table <> 'generic_events')
WHERE reconciled_block IS NULL
