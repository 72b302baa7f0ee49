"""Entries of consumers that are gone are taken over, those of the living are theirs, and what was trimmed away while pending is told."""
from pathlib import Path

import pytest

import feeds
from programs import SERVICES
from test_poison import samples
from test_sequences import STREAM, deposit, deposits, lock_positions, pending, scripts_run, waits_begun
from waiting import until


def take(pipeline, stream, count, consumer="dead"):
    """Another consumer reads entries and never acks them."""
    client = pipeline.redis()
    client.xgroup_create(stream, pipeline.group, id="0", mkstream=True)
    return [id_ for _, entries in client.xreadgroup(pipeline.group, consumer, {stream: ">"}, count=count) for id_, _ in entries]


def consumers(pipeline, stream):
    return {c["name"]: c for c in pipeline.redis().xinfo_consumers(stream, pipeline.group)}


def test_entries_of_the_dead_are_claimed_and_their_names_removed(make_pipeline, small):
    pipeline = make_pipeline(CLAIM_IDLE_MS=50).listen_to(small)
    pipeline.feed(small)
    for stream in pipeline.streams:
        take(pipeline, stream, 3)
    ingest = pipeline.start("ingest").ready()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    assert "\nclaims_total " in ingest.get("/metrics")[1] and "\nclaims_total 0\n" not in ingest.get("/metrics")[1]
    for stream in pipeline.streams:
        until(lambda: consumers(pipeline, stream).get("dead", {"idle": 10**9})["idle"] > 1000, "the dead have been idle for long")
    pipeline.start("ingest")   # it tidies up at its start, and every half minute
    for stream in pipeline.streams:
        until(lambda: "dead" not in consumers(pipeline, stream), f"the name is gone from {stream}", alive=pipeline.alive())


def test_own_entries_are_taken_up_at_once_at_the_start(make_pipeline, small):
    pipeline = make_pipeline(CLAIM_IDLE_MS=3600000).listen_to(small)
    pipeline.feed(small)
    for stream in pipeline.streams:
        take(pipeline, stream, 5, consumer="pod-0")
    pipeline.start("ingest", CONSUMER_NAME="pod", WORKERS=1)
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_the_living_keep_their_entries_through_an_outage(make_pipeline, own_postgres, small):
    """PostgreSQL is away for many times CLAIM_IDLE_MS: nobody claims what another, living replica holds."""
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres, CLAIM_IDLE_MS=3000, CIRCUIT_BREAKER_TIMEOUT_MS=300).migrate().listen_to(small)
    services = [pipeline.start("ingest", BATCH_SIZE=5, BATCH_MAX_EVENTS=20, WORKERS=1).ready() for _ in range(2)]
    client = pipeline.redis()
    until(lambda: sum(c["cmd"] == "xreadgroup" and c["db"] == str(pipeline.redis_db) for c in client.client_list()) == 2,
          "both workers have their connections and read", alive=services)
    own_postgres.stop()
    pipeline.feed(small)

    def held():
        return {(stream, c["name"]): c["pending"] for stream in pipeline.streams for c in client.xinfo_consumers(stream, pipeline.group) if c["pending"]}
    until(lambda: all(any(n and name.startswith(s.label) for (_, name), n in held().items()) for s in services), "both hold entries", alive=services)
    refreshed, before = 0, None
    while refreshed < 6:   # each refresh sets idle back: six of them are at least two claim intervals
        until(lambda: any(e["time_since_delivered"] > 250 for stream in pipeline.streams
                          for e in client.xpending_range(stream, pipeline.group, "-", "+", 1)), "entries age", alive=services)
        until(lambda: all(e["time_since_delivered"] < 250 for stream in pipeline.streams
                          for e in client.xpending_range(stream, pipeline.group, "-", "+", 1)), "entries are made fresh", alive=services)
        refreshed, before = refreshed + 1, before or held()   # what was being read at first is read by now
    assert held() == before
    own_postgres.start()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    for service in services:
        assert "claims_total 0\n" in service.get("/metrics")[1]


@pytest.mark.parametrize("stage", SERVICES)
def test_entries_trimmed_away_while_pending_are_told(make_pipeline, small, stage):
    pipeline = make_pipeline(CLAIM_IDLE_MS=100, BACKFILL_INTERVAL_MS=300).migrate().listen_to(small)
    before = SERVICES[:SERVICES.index(stage)]
    if stage == "ingest":
        stream = small[0].stream
        lost = feeds.write(pipeline.redis(), small[:3])
        gone = take(pipeline, stream, 3)
        pipeline.entries = [entry for entry in lost if entry[1] not in gone]
    else:
        pipeline.start(*before)
        pipeline.feed(small[:3])
        pipeline.drain(before)
        stream = pipeline.vault_updates if stage == "cascade" else pipeline.term_updates
        gone = take(pipeline, stream, 2)
    assert gone
    pipeline.redis().xtrim(stream, minid=_next(gone[-1]), approximate=False)
    service = pipeline.start(stage).ready()
    pipeline.start(*SERVICES[SERVICES.index(stage) + 1:])
    until(lambda: len(pipeline.dead_letters()) == len(gone), "all of them are dead letters", alive=pipeline.alive())
    letters = pipeline.dead_letters()
    assert {letter["id"] for letter in letters} == set(gone)
    assert all(letter["error_class"] == "lost" and letter["stage"] == stage and letter["stream"] == stream for letter in letters)
    until(lambda: f'lost_entries_total{{stream="{stream}"}} {len(gone)}\n' in service.get("/metrics")[1], "they are counted", alive=[service])
    service.says("trimmed away while it was pending")
    pipeline.feed(small[3:])
    pipeline.drain()
    assert not pipeline.differences()
    pipeline.assert_verified()


def _next(id_):
    ms, seq = id_.split("-")
    return f"{ms}-{int(seq) + 1}"


def test_the_lag_is_right_after_trimming(make_pipeline, small):
    """Redis 7.0 loses count of a group's lag after XDEL, not after our trimming."""
    pipeline = make_pipeline(STREAM_RETENTION_ENTRIES=10).listen_to(small)
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    client = pipeline.redis()
    for stream in (pipeline.vault_updates, pipeline.term_updates):
        until(lambda: client.xlen(stream) <= 10, f"{stream} is trimmed", alive=pipeline.alive())
        group = client.xinfo_groups(stream)[0]
        assert group["lag"] == 0 and group["pending"] == 0
    pipeline.stop()
    for at in range(3):
        client.xadd(pipeline.term_updates, {"term_id": "0x" + "00" * 32, "reason": "test", "block_number": at})
    assert client.xinfo_groups(pipeline.term_updates)[0]["lag"] == 3


def test_each_entry_is_told_of_whoever_did_what_it_asks_for(make_pipeline, small):
    """cascade passes on the term of each entry, also where nothing was left to do for it: whoever did it may not have read an entry of that term,
    or may have ended before it passed it on."""
    pipeline = make_pipeline(CLAIM_IDLE_MS=600_000, BACKFILL_INTERVAL_MS=600_000).listen_to(small)   # nothing is told twice on the way
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    client = pipeline.redis()
    told = client.xrange(pipeline.term_updates)
    term = told[0][1]["term_id"]
    assert {fields["term_id"] for _, fields in told} == {fields["term_id"] for _, fields in client.xrange(pipeline.vault_updates)}
    again = {"term_id": term, "reason": "test", "block_number": 1}
    client.xadd(pipeline.vault_updates, again)
    pipeline.drain()
    assert [fields["term_id"] for _, fields in client.xrange(pipeline.term_updates)[len(told):]] == [term]
    pipeline.stop(*[service for service in pipeline.alive() if service.name == "cascade"])
    client.xadd(pipeline.vault_updates, again)
    assert client.xreadgroup(pipeline.group, "dead", {pipeline.vault_updates: ">"})   # and never acked
    pipeline.start("cascade", CLAIM_IDLE_MS=100)
    pipeline.drain()
    assert [fields["term_id"] for _, fields in client.xrange(pipeline.term_updates)[len(told):]] == [term, term]


LUA = Path(__file__).resolve().parents[2] / "common/stream/lua"


def test_one_call_that_trims_looks_at_no_more_than_a_megabyte(pipeline):
    """Full chunks are of 75 KB: a thousand of them in one call would stop Redis for a moment, and take as much of its memory."""
    client, size = pipeline.redis(), 75_000
    client.xgroup_create("large", pipeline.group, id="0", mkstream=True)
    for _ in range(120):
        client.xadd("large", {"payload": "x" * size})
    for _, entries in client.xreadgroup(pipeline.group, "one", {"large": ">"}):
        client.xack("large", pipeline.group, *[id_ for id_, _ in entries])
    script = client.register_script((LUA / "ids.lua").read_text() + (LUA / "trim.lua").read_text())
    dropped = []
    while not dropped or dropped[-1]:
        dropped.append(script(keys=["large"], args=[10, pipeline.group]))
    assert sum(dropped) == 110
    assert max(dropped) * size < 1_048_576 + 20 * size, dropped


def test_entries_that_are_left_pending_are_not_counted_as_processed(pipeline):
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as holder:
        lock_positions(holder, 3)
        ingest = pipeline.start("ingest", WORKERS=1, PROCESSING_TIMEOUT_MS=500, NETWORK="intuition-testnet")
        pipeline.feed([deposits(deposit(1, term=1, account=3)), deposits(deposit(2, term=2)), deposits(deposit(3, term=3))])
        until(lambda: ingest.messages().count("takes longer") > 2, "one is tried over and over", alive=[ingest])
        until(lambda: pending(pipeline) == 1, "the others are done", alive=[ingest])
        assert samples(ingest, "messages_processed_total")[f'stream="{STREAM}"'] == 2
        holder.rollback()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    until(lambda: samples(ingest, "messages_processed_total")[f'stream="{STREAM}"'] == 3, "now it counts", alive=[ingest])


def test_a_term_that_is_pending_is_not_queued_again(make_pipeline, small):
    """Somebody holds a term's row for many times the backfill's interval: it stays the one entry. What was lost meanwhile is queued again."""
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=2000, PROCESSING_TIMEOUT_MS=1000, WORKERS=2).listen_to(small)
    pipeline.feed(small)
    pipeline.start()
    pipeline.drain()
    client, stream = pipeline.redis(), pipeline.vault_updates
    with pipeline.connect() as holder, pipeline.connect() as connection:
        held, lost = [term for term, in connection.execute("SELECT id FROM term ORDER BY id LIMIT 2").fetchall()]
        cascade = next(service for service in pipeline.alive() if service.name == "cascade")
        holder.autocommit = False
        holder.execute("SELECT FROM term WHERE id = %s FOR UPDATE", (held,))
        connection.execute("UPDATE term SET total_assets = total_assets + 1 WHERE id = %s", (lost,))   # what is done for it is to be seen
        before = client.xlen(stream)
        connection.execute("SELECT vault_tell_of_terms(ARRAY[%s], 0)", (held,))   # it is younger than the interval when its entry comes
        client.xadd(stream, {"term_id": held, "reason": "test", "block_number": 1})
        cascade.says("waits for a lock")
        connection.execute("SELECT vault_tell_of_terms(ARRAY[%s], 0)", (lost,))   # and no entry
        until(lambda: not connection.execute("SELECT count(*) FROM vault_waiting WHERE term_id = %s", (lost,)).fetchone()[0], "it is queued again and done",
              alive=pipeline.alive())
        scripts_run(client, 10)   # several rounds of housekeeping more
        until(lambda: cascade.messages().count("waits for a lock") > 2, "the other is tried over and over", alive=[cascade])
        assert [fields["term_id"] for _, fields in client.xrange(stream)[before:]].count(held) == 1
        holder.rollback()
    pipeline.drain().assert_exact()


def test_a_stream_that_is_gone_does_not_end_the_reading_of_what_is_pending_in_others(make_pipeline, small):
    """Its group vanishes each time when it has been made again: the entries of the other streams are done all the same."""
    pipeline = make_pipeline(CLAIM_IDLE_MS=3_600_000, BATCH_SIZE=1, BATCH_MAX_EVENTS=1).listen_to(small)
    pipeline.streams.append("gone")
    pipeline.feed(small)
    client = pipeline.redis()
    for stream in pipeline.streams[:-1]:
        take(pipeline, stream, 1000, consumer="pod-0")
    client.xadd("gone", {"payload": "[]"})
    with pipeline.connect() as holder:
        pipeline.migrate()
        holder.autocommit = False
        holder.execute("LOCK TABLE atom_created_events, triple_created_events, deposited_events, share_price_changed_events IN ACCESS EXCLUSIVE MODE")
        ingest = pipeline.start("ingest", CONSUMER_NAME="pod", WORKERS=1).ready()
        until(lambda: holder.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'").fetchone()[0],
              "it is in the middle of its pass", alive=[ingest])
        client.delete("gone")
        holder.rollback()
    ingest.says("a stream or its group is gone")
    until(lambda: not sum(pending(pipeline, stream) for stream in pipeline.streams), "all that was pending is done", alive=[ingest])
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_what_is_claimed_is_read_though_another_stream_is_gone(make_pipeline):
    """Its group vanished just then: the next stream in the claim's order."""
    pipeline = make_pipeline(CLAIM_IDLE_MS=3000, WORKERS=1, NETWORK="intuition-testnet").migrate()
    pipeline.streams = [STREAM, "gone"]
    client = pipeline.redis()
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        lock_positions(holder, 3)
        ingest = pipeline.start("ingest").ready()
        pipeline.feed([deposits(deposit(1, account=3))])
        until(lambda: waits_begun(watcher, set()), "it is at a batch, which takes no more entries", alive=[ingest])
        pipeline.feed([deposits(deposit(2))])
        (_, ((id_, _),)), = client.xreadgroup(pipeline.group, "dead", {STREAM: ">"})
        until(lambda: client.xpending_range(STREAM, pipeline.group, id_, id_, 1)[0]["time_since_delivered"] > 3100, "the other is dead", alive=[ingest])
        client.delete("gone")
        holder.rollback()
    ingest.says("a stream or its group is gone")
    pipeline.feed([deposits(deposit(4))])
    until(lambda: client.xinfo_groups(STREAM)[0]["last-delivered-id"] == pipeline.entries[-1][1], "a new entry is read", alive=[ingest])
    assert not client.xpending_range(STREAM, pipeline.group, id_, id_, 1), "what was pending comes first"
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_a_stream_that_is_gone_keeps_nobody_from_staying_alive_in_others(make_pipeline):
    """A long batch: its entries are made fresh again and again though the group of another stream has vanished."""
    pipeline = make_pipeline(CLAIM_IDLE_MS=1500, WORKERS=1, NETWORK="intuition-testnet").migrate()
    pipeline.streams = ["gone", STREAM]
    client = pipeline.redis()
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        lock_positions(holder, 3)
        ingest = pipeline.start("ingest").ready()
        pipeline.feed([deposits(deposit(1, account=3))])
        until(lambda: waits_begun(watcher, set()), "it is at a batch, which takes no more entries", alive=[ingest])
        client.delete("gone")

        def age():
            return client.xpending_range(STREAM, pipeline.group, "-", "+", 1)[0]["time_since_delivered"]
        for _ in range(3):
            until(lambda: age() > 300, "the entry ages", alive=[ingest], pause=0.01)
            until(lambda: age() < 300, "it is made fresh", alive=[ingest], pause=0.01)
        holder.rollback()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
