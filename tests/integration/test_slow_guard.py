"""A batch whose blocks take longer to look at than the deadline is halved until the halves do not."""
from test_sequences import STREAM, deposit, deposits, notice

SLOW = """ALTER FUNCTION event_guard RENAME TO event_guard_itself;
CREATE SEQUENCE guarded;
CREATE FUNCTION event_guard(streams TEXT[], numbers BIGINT[], hashes TEXT[], ms BIGINT[], seq BIGINT[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
        PERFORM nextval('guarded'); -- counts those that are rolled back, too
        PERFORM pg_sleep(0.003 * count(DISTINCT b)) FROM unnest(numbers) b;
        PERFORM event_guard_itself(streams, numbers, hashes, ms, seq);
END $$"""


def test_blocks_that_take_long_to_judge(pipeline):
    pipeline.streams = [STREAM]
    ingest = pipeline.start("ingest", BATCH_SIZE=1000)
    pipeline.feed([notice(5, 1, id="1000-0"), deposits(deposit(1, number=10, hash_=10), id="2000-0")])
    pipeline.drain(["ingest"])
    pipeline.stop(ingest)
    with pipeline.connect() as connection:
        connection.execute(SLOW)
    pipeline.feed([deposits(*[deposit(1000 + k, number=100 + k, hash_=100 + k, account=k % 50) for k in range(n, n + 100)], id=f"3000-{n}")
                   for n in range(0, 300, 100)])
    pipeline.start("ingest", WORKERS=1, BATCH_SIZE=1000, BATCH_MAX_EVENTS=2000, PROCESSING_TIMEOUT_MS=200)
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        events, calls = connection.execute("SELECT (SELECT count(*) FROM deposited_events), last_value FROM guarded").fetchone()
    assert events == 301 and calls > 4, "one of 100 blocks takes 300 ms: only halves are stored"
