-- A batch of events, one array a column, in the table's order, sorted by (transaction_hash, log_index): two writers of the same rows wait, never deadlock.
INSERT INTO triple_created_events SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::timestamptz[], $9::text[],
        $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
ON CONFLICT (transaction_hash, log_index) DO NOTHING
