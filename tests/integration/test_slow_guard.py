"""A batch whose blocks take longer to look at than the deadline is halved until the halves do not."""
from test_sequences import STREAM, deposit, deposits, id32, notice


def test_blocks_that_take_long_to_judge(pipeline):
    pipeline.streams = [STREAM]
    ingest = pipeline.start("ingest", BATCH_SIZE=1000)
    pipeline.feed([notice(5, 1, id="1000-0"), deposits(deposit(1, number=10, hash_=10), id="2000-0")])
    pipeline.drain(["ingest"])
    pipeline.stop(ingest)
    with pipeline.connect() as connection:   # what has come long ago
        connection.execute("SET session_replication_role = replica")
        connection.execute("""INSERT INTO deposited_events SELECT (jsonb_populate_record(e, jsonb_build_object('log_index', 1000 + i % 100, 'transaction_hash',
                              '0x' || lpad(to_hex(100000 + i / 100), 64, '0'), 'block_number', 100 + i / 100, 'block_hash',
                              '0x' || lpad(to_hex(100 + i / 100), 64, '0')))).*
                              FROM deposited_events e, generate_series(0, 199999) i""")
        connection.execute("ANALYZE")
        connection.execute("SET session_replication_role = origin")
    messages = [deposits(*[deposit(500000 + k, number=100 + k, hash_=100 + k, account=k % 50) for k in range(n, n + 100)], id=f"3000-{n}")
                for n in range(0, 2000, 100)]
    pipeline.feed(messages)
    pipeline.start("ingest", WORKERS=1, BATCH_SIZE=1000, BATCH_MAX_EVENTS=2000, PROCESSING_TIMEOUT_MS=200)
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events WHERE log_index = 1").fetchone()[0] == 2001
