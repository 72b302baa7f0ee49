-- What there is to do: the lowest fork block of notices since the last reconciling, how many notices there were ever, how long ago the last one
-- ended (in ms), how far it came, the head it saw.
SELECT notice_fork, notices, (extract(epoch FROM clock_timestamp() - reconciled_at) * 1000)::bigint, reconciled_block, head_block,
        extract(epoch FROM reconciled_at)::bigint
FROM chain_state
