"""Entries of consumers that are gone are taken over, those of the living are theirs, and what was trimmed away while pending is told."""
import pytest

import feeds
from programs import SERVICES
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
        return {(stream, c["name"]): c["pending"] for stream in pipeline.streams for c in client.xinfo_consumers(stream, pipeline.group)}
    until(lambda: all(any(n and name.startswith(s.label) for (_, name), n in held().items()) for s in services), "both hold entries", alive=services)
    before = held()
    refreshed = 0
    while refreshed < 6:   # each refresh sets idle back: six of them are at least two claim intervals
        until(lambda: any(e["time_since_delivered"] > 250 for stream in pipeline.streams
                          for e in client.xpending_range(stream, pipeline.group, "-", "+", 1)), "entries age", alive=services)
        until(lambda: all(e["time_since_delivered"] < 250 for stream in pipeline.streams
                          for e in client.xpending_range(stream, pipeline.group, "-", "+", 1)), "entries are made fresh", alive=services)
        refreshed += 1
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
    pipeline = make_pipeline(CLAIM_IDLE_MS=100).listen_to(small)
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
    pipeline.start("cascade")
    pipeline.drain()
    assert [fields["term_id"] for _, fields in client.xrange(pipeline.term_updates)[len(told):]] == [term, term]
