-- The moment of a look that found something: $1 the last moment when it began, $2 its own, $3 to $5 positions of streams at it. No row: another
-- process has written verdicts since, and what this one saw may be older.
WITH moment AS (
        UPDATE chain_state SET moment = $2::bigint WHERE moment = $1::bigint RETURNING moment
), placed AS (
        INSERT INTO chain_position (moment, stream, stream_ms, stream_seq)
        SELECT m.moment, p.* FROM moment m CROSS JOIN unnest($3::text[], $4::bigint[], $5::bigint[]) p
)
SELECT FROM moment
