-- $1 streams that a program reads and writes: those that the programs before it read, as far as they have said so
SELECT stream FROM pipeline_stream WHERE seen_at > now() - interval '1 day' AND stream <> ALL ($1::text[]) ORDER BY stream
