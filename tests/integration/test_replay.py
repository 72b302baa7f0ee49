"""`ingest replay` reads the streams again, beside the running service; `--reset` empties all tables first and refuses to lose anything."""
import threading

import feeds


def counts(pipeline):
    with pipeline.connect() as connection:
        return connection.execute("SELECT (SELECT count(*) FROM deposited_events), (SELECT count(*) FROM atom),"
                                  " (SELECT count(*) FROM unfinished_replay)").fetchone()


def replay(pipeline, *arguments, code=0, **settings):
    done = pipeline.run("ingest", "replay", *arguments, **settings)
    assert done.returncode == code, done.stderr
    return done


def test_replay_mends_what_was_lost_and_changes_nothing_else(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    replay(pipeline)
    pipeline.drain().assert_exact()
    with pipeline.connect() as connection:
        connection.execute("DELETE FROM deposited_events WHERE log_index % 2 = 0")
        connection.execute("DELETE FROM atom_created_events")
    done = replay(pipeline)
    assert f"{len(small)} entries" in done.stderr
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_replay_from_an_id_reads_what_stands_there_and_behind(pipeline, small):
    pipeline.listen_to(small).start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        first, last = connection.execute("SELECT min(stream_ms), max(stream_ms) FROM deposited_events").fetchone()
        middle = (first + last) // 2
        connection.execute("DELETE FROM deposited_events")
        replay(pipeline, "--from", str(middle))
        assert connection.execute("SELECT count(*) FILTER (WHERE stream_ms < %s), count(*) > 0 FROM deposited_events", [middle]).fetchone() == (0, True)
    replay(pipeline, "--from", "0")
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_reset_under_a_running_feed(pipeline, part):
    pipeline.migrate().listen_to(part).start()
    half = len(part) // 2
    pipeline.feed(part[:half])
    rest = threading.Thread(target=pipeline.feed, args=[part[half:]])
    rest.start()
    replay(pipeline, "--reset")
    rest.join()
    assert counts(pipeline)[2] == 0
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_reset_after_a_reorg_and_with_only_ingest_gone(pipeline):
    reorg = feeds.load("reorg.jsonl.xz")
    pipeline.listen_to(reorg).start("cascade", "analytics")
    ingest = pipeline.start("ingest")
    pipeline.feed(reorg)
    pipeline.drain()
    pipeline.stop(ingest)
    with pipeline.connect() as connection:
        connection.execute("UPDATE atom SET label = 'kept', resolving_status = 'Resolved' WHERE term_id = (SELECT min(term_id) FROM atom)")
        replay(pipeline, "--reset")
        assert connection.execute("SELECT count(*) FROM atom WHERE label = 'kept' AND resolving_status = 'Resolved'").fetchone()[0] == 1
        connection.execute("UPDATE atom SET label = NULL, resolving_status = 'Pending'")
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_reset_refuses_to_lose_what_the_streams_no_longer_hold(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    before = counts(pipeline)
    client = pipeline.redis()
    stream = next(m.stream for m in small if m.name == "Deposited")
    (gone, _), (kept, _) = client.xrange(stream, count=2)
    client.xtrim(stream, minid=kept, approximate=False)
    done = replay(pipeline, "--reset", code=1)
    assert "refused" in done.stderr and stream in done.stderr
    assert counts(pipeline) == before
    replay(pipeline)
    pipeline.drain().assert_exact()
    replay(pipeline, "--reset", "--accept-loss")
    pipeline.entries = [entry for entry in pipeline.entries if (entry[0], entry[1]) != (stream, gone)]
    pipeline.drain().assert_exact()


def test_reset_from_an_id_counts_what_stands_before_it_as_loss(pipeline, small):
    pipeline.listen_to(small).start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    done = replay(pipeline, "--reset", "--from", "9999999999999", code=1)
    assert "refused" in done.stderr


def test_an_unfinished_reset_is_told_at_the_next_start_and_mended_by_a_replay(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("SELECT pipeline_reset('-')")   # a replay that died right behind it
    ingest = pipeline.start("ingest")
    ingest.says("replay with --reset has not come to its end")
    replay(pipeline)
    pipeline.drain().assert_exact()
    assert counts(pipeline)[2] == 0


def test_messages_that_cannot_be_stored_are_named_and_stop_nothing(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    id_ = pipeline.redis().xadd(small[0].stream, {"payload": "{"})
    pipeline.drain()
    done = replay(pipeline, "--reset")
    assert id_ in done.stderr and "1 message cannot be stored" in done.stderr
    pipeline.drain()
    assert len(pipeline.dead_letters()) == 1
    assert not pipeline.differences()


def test_bad_usage(pipeline):
    for arguments in (["--from"], ["--from", "x"], ["--from", "1-"], ["--accept-loss"], ["more"]):
        assert "usage" in replay(pipeline, *arguments, code=2).stderr


def test_a_stream_that_is_none(pipeline, small):
    """It says which of the two servers refused, and why."""
    pipeline.listen_to(small).migrate().redis().set(pipeline.streams[0], "text")
    for options in ([], ["--reset"]):
        done = pipeline.run("ingest", "replay", *options)
        assert done.returncode == 1 and "Redis: WRONGTYPE" in done.stderr, done.stderr
