"""`ingest verify` and `rebuild` of the event tables: against what the streams still hold, and against where reorgs put each event."""
import copy
from dataclasses import replace

import feeds
from waiting import until


def verify(pipeline, code):
    done = pipeline.run("ingest", "verify")
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def rebuild(pipeline):
    for name in ("ingest", "cascade", "analytics"):
        done = pipeline.run(name, "rebuild")
        assert done.returncode == 0, done.stderr


def test_rows_that_reorgs_put_elsewhere(pipeline):
    """Every version of an event is in one of two places; both ways to stand in the wrong one are found and mended."""
    reorg = feeds.load("reorg.jsonl.xz")
    pipeline.listen_to(reorg).start()
    pipeline.feed(reorg)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        key = connection.execute("SELECT transaction_hash, log_index FROM orphaned_events WHERE source_table = 'deposited_events' LIMIT 1").fetchone()
        connection.execute("WITH o AS (DELETE FROM orphaned_events WHERE (transaction_hash, log_index) = (%s, %s) RETURNING event_row)"
                           " INSERT INTO deposited_events SELECT r.* FROM o, jsonb_populate_record(NULL::deposited_events, o.event_row) r", key)
        other = connection.execute("SELECT transaction_hash, log_index FROM redeemed_events LIMIT 1").fetchone()
        connection.execute("WITH d AS (DELETE FROM redeemed_events WHERE (transaction_hash, log_index) = (%s, %s) RETURNING *)"
                           " INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,"
                           " stream, stream_ms, stream_seq, reason) SELECT 'redeemed_events', transaction_hash, log_index, block_hash, block_number,"
                           " to_jsonb(d), stream, stream_ms, stream_seq, 'reorg' FROM d", other)
    found = verify(pipeline, 1).stdout
    assert f"transaction_hash={key[0]} log_index={key[1]}" in found and "should be in orphaned_events" in found
    assert f"transaction_hash={other[0]} log_index={other[1]}" in found and "its block is live" in found
    rebuild(pipeline)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_events_whose_entry_is_gone_are_left_alone(pipeline, small):
    """A hole in a stream, as the loss of Redis' newest writes leaves one: of its events nothing can be said, so nothing is."""
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    client = pipeline.redis()
    for stream in pipeline.streams:
        ids = [id_ for id_, _ in client.xrange(stream)]
        client.xdel(stream, *ids[len(ids) // 3:len(ids) // 2])
    verify(pipeline, 0)
    rebuild(pipeline)
    pipeline.assert_exact()


def test_two_live_blocks_of_one_number_are_a_warning(pipeline, small):
    first = next(m for m in small if m.name == "Deposited")
    events = copy.deepcopy(first.events[:1])
    events[0]["transaction_information"] |= {"block_hash": "0x" + "77" * 32, "transaction_hash": "0x" + "88" * 32}
    pipeline.listen_to(small)
    pipeline.feed([*small, replace(first, events=events, id=None, raw=None)])
    ingest, *_ = pipeline.start()
    pipeline.drain().assert_exact()
    done = verify(pipeline, 0)
    number = int(str(events[0]["transaction_information"]["block_number"]), 0)
    assert f"warning: block {number} is live with two hashes" in done.stderr and "0x" + "77" * 32 in done.stderr
    pipeline.stop(ingest)
    ingest = pipeline.start("ingest").ready()   # the gauge is asked for at the start and every 15 seconds
    until(lambda: "\nconflicting_blocks 1\n" in ingest.get("/metrics")[1], "the gauge shows it", alive=[ingest])
