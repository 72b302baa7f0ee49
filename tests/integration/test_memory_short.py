"""Redis under pressure: at maxmemory what frees memory goes on; a producer that trims what nobody has read; a consumer that somebody removes."""
import json
import re
from dataclasses import replace

import pytest

from test_http import sample
from test_memory import SANITIZED, most_memory
from waiting import until


def fill(redis):
    """maxmemory below what is in use."""
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] // 2)


def test_acks_at_maxmemory(make_pipeline, own_redis, small):
    """Started with its memory full, the groups there: every stage reads and acks all, keys wait in the outboxes. Then there is room again."""
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0, BACKFILL_INTERVAL_MS=500).listen_to(small)
    redis = pipeline.redis()
    services = [service.ready() for service in pipeline.start()]
    until(lambda: all(redis.exists(stream) for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates)), "groups are made")
    pipeline.stop()
    pipeline.feed(small)
    for _ in range(365):
        redis.xadd(pipeline.term_updates, {"term_id": "0x" + "1" * 64, "reason": "test", "block_number": 1})
        redis.xadd(pipeline.vault_updates, {"term_id": "0x" + "1" * 64, "curve_id": "1", "reason": "test", "block_number": 1})
    fill(redis)
    services = pipeline.start()

    def acked():
        groups = [(stream, redis.xinfo_groups(stream)[0]) for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates)]
        return all(not group["pending"] and not group["lag"] for _, group in groups)
    until(acked, "all is acked while the memory is full", alive=services)
    until(lambda: "out of memory" in services[0].messages(), "it says so", alive=services)
    redis.config_set("maxmemory", 0)
    pipeline.drain().assert_exact()


def test_a_bad_message_waits_for_memory(make_pipeline, own_redis, small):
    """Its dead letter cannot be written: it stays pending, and gets the letter later."""
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0).listen_to(small)
    small = [replace(message, id=None) for message in small]
    redis = pipeline.redis()
    service = pipeline.start("ingest").ready()
    redis.xadd(pipeline.streams[0], {"payload": "no JSON"})
    pipeline.feed(small[:10])
    until(pipeline.drained(["ingest"]), "the groups are made, all is read", alive=[service])
    pipeline.stop()
    redis.xadd(pipeline.streams[0], {"payload": "no JSON either"})
    pipeline.feed(small[10:])
    fill(redis)
    service = pipeline.start("ingest")
    until(lambda: redis.xinfo_groups(pipeline.streams[0])[0]["pending"] == 1 and not redis.xinfo_groups(pipeline.streams[0])[0]["lag"],
          "it alone is pending", alive=[service])
    redis.config_set("maxmemory", 0)
    until(lambda: len(pipeline.dead_letters()) == 2, "it is a dead letter", alive=[service])
    until(pipeline.drained(["ingest"]), "nothing is pending", alive=[service])


@pytest.mark.parametrize("known", [False, True])
def test_unread_entries_are_trimmed(pipeline, small, known):
    """known: the group has read something before."""
    pipeline.migrate().listen_to(small)
    stream, redis = pipeline.streams[0], pipeline.redis()
    service = pipeline.start("ingest").ready()
    before = "0-0"
    if known:
        before = redis.xadd(stream, {"payload": "{}"})
        until(pipeline.drained(["ingest"]), "it is read", alive=[service])
    until(lambda: redis.exists(stream), "the group is made", alive=[service])
    pipeline.stop()
    ids = [redis.xadd(stream, {"payload": "{}"}) for _ in range(100)]
    redis.xtrim(stream, maxlen=20, approximate=False)
    services = pipeline.start("ingest").ready(), pipeline.start("ingest").ready()
    until(pipeline.drained(["ingest"]), "all is read", alive=services)

    def lost():
        return sum(sample(service.get("/metrics")[1], "lost_entries_total") for service in services)
    until(lost, "it is counted", alive=services)
    assert lost() == 80
    said = "".join(service.messages() for service in services)
    assert re.findall(r"trimmed away before .* entries=(\d+) after=(\S+) before=(\S+)", said) == [("80", before, ids[80])]
    assert redis.xinfo_groups(stream)[0]["lag"] == 0, "what an autoscaler reads"

    def shown():
        one = {one["stream"]: one for one in json.loads(services[0].get("/status")[1])["streams"]}[stream]
        return (one["lag"], one["lag_known"]) == (0, True)
    until(shown, "the page shows no lag", alive=services)
    redis.xadd(stream, {"payload": "{}"})
    until(pipeline.drained(["ingest"]), "one more is read", alive=services)
    assert lost() == 80 and redis.xinfo_groups(stream)[0]["lag"] == 0


def test_redis_takes_no_writes(make_pipeline, own_redis, small):
    """It is a replica now, as after a failover: check says so, and the breaker's probe, which would close it for a Redis that only answers."""
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0, CIRCUIT_BREAKER_TIMEOUT_MS=300, CIRCUIT_BREAKER_THRESHOLD=2).migrate().listen_to(small)
    redis, service = pipeline.redis(), pipeline.start("ingest").ready()
    pipeline.feed(small)
    until(pipeline.drained(["ingest"]), "all is stored", alive=[service])
    redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    done = pipeline.run("ingest", "check")
    assert done.returncode == 1 and "takes no writes: READONLY" in done.stdout
    until(lambda: service.messages().count("breaker's probe failed") >= 3, "probes fail", alive=[service])
    assert "circuit breaker closed" not in service.messages()
    redis.execute_command("REPLICAOF", "NO", "ONE")
    service.says("circuit breaker closed")


def told_of(pipeline, act, count=40):
    """What ingest says of a stream after 20 entries were read and `count` were not, once `act` has been done to it while it was stopped."""
    stream, redis = pipeline.migrate().streams[0], pipeline.redis()
    service = pipeline.start("ingest").ready()
    for _ in range(20):
        redis.xadd(stream, {"payload": "{}"})
    until(pipeline.drained(["ingest"]), "they are read", alive=[service])
    pipeline.stop()
    ids = [redis.xadd(stream, {"payload": "{}"}) for _ in range(count)]
    act(redis, stream, ids)
    service = pipeline.start("ingest").ready()
    until(pipeline.drained(["ingest"]), "all is read", alive=[service])
    return ids, service


@pytest.mark.parametrize("first, last", [(0, 10), (15, 25), (30, 40), (0, 40)])
def test_unread_entries_are_deleted(pipeline, first, last):
    """XDEL, wherever they stand. It is a loss as much as XTRIM."""
    _, service = told_of(pipeline, lambda redis, stream, ids: redis.xdel(stream, *ids[first:last]))
    until(lambda: sample(service.get("/metrics")[1], "lost_entries_total") == last - first, "all are counted", alive=[service])
    assert re.findall(r"trimmed away before .* entries=(\d+)", service.messages()) == [str(last - first)]


def test_entries_are_passed_over_by_hand(pipeline):
    """XGROUP SETID to what is ahead: how many were not read Redis does not know. One line says it, and is not said again."""
    def act(redis, stream, ids):
        redis.xgroup_setid(stream, pipeline.group, ids[20])
    ids, service = told_of(pipeline, act)
    assert re.findall("set by hand.* place=(\\S+)", service.messages()) == [ids[20]]
    assert sample(service.get("/metrics")[1], "lost_entries_total") == 0
    service = pipeline.start("ingest").ready()
    assert "set by hand" not in service.messages()


def test_a_place_beyond_the_end_is_no_loss(pipeline, small):
    """What comes then is passed over by hand, and nobody has trimmed it: it is read once the place is set back."""
    pipeline.listen_to(small)
    service = pipeline.start("ingest").ready()
    pipeline.feed(small[:len(small) // 2])
    until(pipeline.drained(("ingest",)), "the first half is through", alive=[service])
    redis = pipeline.redis()
    places = {stream: redis.xinfo_groups(stream)[0]["last-delivered-id"] for stream in pipeline.streams if redis.exists(stream)}
    for stream in places:
        redis.xgroup_setid(stream, pipeline.group, "18446744073709551615-0")
    until(lambda: service.messages().count("set by hand") == len(places), "it says so", alive=[service])
    pipeline.feed(small[len(small) // 2:])

    def looks():
        return redis.info("commandstats")["cmdstat_eval"]["calls"]
    seen = looks()
    until(lambda: looks() > seen + 4 * len(places), "it has looked again", alive=[service])
    for stream, place in places.items():
        redis.xgroup_setid(stream, pipeline.group, place)
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    assert sample(service.get("/metrics")[1], "lost_entries_total") == 0 and "trimmed" not in service.messages(), service.tail()


def test_the_newest_dead_letters_are_large(pipeline):
    """The page looks at some of them: Redis answers nobody else while it does."""
    redis, letter = pipeline.migrate().redis(), {"stage": "ingest", "stream": "s", "id": "1-1", "group": pipeline.group, "error_class": "type"}
    for _ in range(20):
        redis.xadd(pipeline.dead_letter_stream, {**letter, "payload": "x" * (1 << 20)})
    groups = json.loads(pipeline.run("ingest", "status", "--json").stdout)["dead_letters"]
    assert groups["count"] == 20 and [group["count"] for group in groups["groups"]] == [4]


def until_it_waits_for_a_lock(pipeline, service):
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with pipeline.connect() as connection:
        until(lambda: connection.execute(waits).fetchone()[0], "its batch waits for the lock", alive=[service])


def passes_over(redis):
    """Whether a group's entries-read counts what was trimmed before a read, as Redis 8 does."""
    redis.xgroup_create("probe", "g", id="0", mkstream=True)
    redis.xadd("probe", {"payload": "{}"})
    redis.xreadgroup("g", "c", {"probe": ">"})
    add_and_trim(redis, "probe")
    redis.xreadgroup("g", "c", {"probe": ">"})
    (group,) = redis.xinfo_groups("probe")
    redis.delete("probe")
    return group["entries-read"] != 1 + 10


def add_and_trim(redis, stream):
    """50 entries, of which the last 10 stay, in one step."""
    pipe = redis.pipeline(transaction=True)
    for _ in range(50):
        pipe.xadd(stream, {"payload": "{}"})
    pipe.xtrim(stream, maxlen=10, approximate=False)
    pipe.execute()


def test_trimmed_between_two_looks(pipeline, small):
    """The reader waits for entries meanwhile: the number is found when all that is left is read."""
    redis = pipeline.redis()
    if passes_over(redis):
        pytest.skip("this Redis counts what was trimmed as read")
    pipeline.migrate().listen_to(small)
    stream = pipeline.streams[0]
    service = pipeline.start("ingest").ready()
    redis.xadd(stream, {"payload": "{}"})
    until(pipeline.drained(["ingest"]), "it is read", alive=[service])
    add_and_trim(redis, stream)
    until(lambda: sample(service.get("/metrics")[1], "lost_entries_total") == 40, "40 are counted", alive=[service])
    until(lambda: "40 entries were trimmed away before they were stored" in service.get("/status")[1], "the page says so", alive=[service])


def test_trimmed_under_a_running_reader(pipeline, small):
    """It is at a batch meanwhile."""
    pipeline.migrate().listen_to(small)
    stream, redis = next(message for message in small if message.name == "AtomCreated").stream, pipeline.redis()
    service = pipeline.start("ingest", WORKERS=1).ready()
    with pipeline.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE atom_created_events")
        redis.xadd(stream, {"payload": next(message for message in small if message.name == "AtomCreated").payload()})
        until_it_waits_for_a_lock(pipeline, service)
        add_and_trim(redis, stream)
        until(lambda: sample(service.get("/metrics")[1], "lost_entries_total") == 40, "40 are counted", alive=[service])
        connection.execute("ROLLBACK")
    until(lambda: "40 entries were trimmed away before they were stored" in service.get("/status")[1], "the page says so", alive=[service])


def test_trimmed_faster_than_it_is_read(pipeline, small):
    """A backlog of which the producer trims some before each read. Most of it is counted, nothing twice."""
    pipeline.migrate().listen_to(small)
    redis = pipeline.redis()
    atom = next(message for message in small if message.name == "AtomCreated")
    stream, rounds, added = atom.stream, 150, 20
    service = pipeline.start("ingest", WORKERS=1, BATCH_MAX_EVENTS=5).ready()
    until(lambda: redis.exists(stream), "the group is made", alive=[service])
    for _ in range(rounds):
        pipe = redis.pipeline(transaction=True)
        for _ in range(added):
            pipe.xadd(stream, {"payload": atom.payload()})
        pipe.xtrim(stream, maxlen=30, approximate=False)
        pipe.execute()
    until(pipeline.drained(["ingest"]), "what is left is read", alive=[service])
    metrics = service.get("/metrics")[1]
    missing = rounds * added - sample(metrics, "messages_processed_total")
    assert missing > 100, "the producer was faster"

    def counted():
        return missing * 0.5 <= sample(service.get("/metrics")[1], "lost_entries_total") <= missing
    counted.why = lambda: f"{sample(service.get('/metrics')[1], 'lost_entries_total')} of {missing}"
    until(counted, "what was lost is counted", alive=[service])


def test_what_is_trimmed_behind_the_acks_is_no_loss(make_pipeline, small):
    pipeline = make_pipeline(TRIM_INPUT="true", STREAM_RETENTION_ENTRIES=0, BACKFILL_INTERVAL_MS=500).listen_to([replace(m, stream="s") for m in small])
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed([replace(message, stream="s", id=None) for message in small])
    redis = pipeline.redis()
    until(lambda: redis.xlen("s") <= 1 and redis.xinfo_groups("s")[0]["last-delivered-id"] != "0-0", "the input is trimmed", alive=services)
    redis.xgroup_destroy(pipeline.vault_updates, pipeline.group)
    until(lambda: redis.xinfo_groups(pipeline.vault_updates), "the group is made again", alive=services)
    pipeline.drain()
    for service in services:
        assert sample(service.get("/metrics")[1], "lost_entries_total") == 0, service.tail()


def test_a_consumer_is_removed_while_its_batch_is_under_way(pipeline, small):
    """XGROUP DELCONSUMER: what was pending is not any more. The bad message is at least named in the log."""
    pipeline.migrate().listen_to(small)
    redis, stream = pipeline.redis(), pipeline.streams[0]
    service = pipeline.start("ingest", WORKERS=1).ready()
    until(lambda: redis.exists(stream), "the group is made", alive=[service])
    with pipeline.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE atom_created_events")
        pipe = redis.pipeline(transaction=True)   # in one batch
        pipe.xadd(stream, {"payload": "no JSON"})
        for message in [message for message in small if message.stream == stream][:5]:
            pipe.xadd(stream, {"payload": message.payload()})
        bad = pipe.execute()[0]
        until(lambda: redis.xpending(stream, pipeline.group)["pending"], "the batch is under way", alive=[service])
        for consumer in redis.xinfo_consumers(stream, pipeline.group):
            redis.xgroup_delconsumer(stream, pipeline.group, consumer["name"])
        connection.execute("ROLLBACK")
    service.says(f"bad message.* id={bad} ")
    assert not pipeline.dead_letters()


def large_entries(small, count):
    """976 KiB each."""
    atom = next(message for message in small if message.name == "AtomCreated")
    event = {**atom.events[0], "atomData": "0x" + "61" * 499_712}
    return [replace(atom, id=None, raw=None, events=({**event, "transaction_information": {**event["transaction_information"], "log_index": 10_000 + i}},))
            for i in range(count)]


def test_large_entries_are_few_in_a_first_read(pipeline, small):
    """Of several streams at once, before anything said how large they are."""
    pipeline.streams = [f"s{i}" for i in range(5)]
    pipeline.migrate().feed([replace(message, stream=pipeline.streams[i % 5]) for i, message in enumerate(large_entries(small, 25))])
    redis = pipeline.redis()
    with pipeline.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE atom_created_events IN SHARE MODE")
        service = pipeline.start("ingest", WORKERS=1)
        until_it_waits_for_a_lock(pipeline, service)
        assert sum(redis.xpending(stream, pipeline.group)["pending"] for stream in pipeline.streams) == 5
        connection.execute("ROLLBACK")
    until(pipeline.drained(["ingest"]), "all are stored", alive=[service])


@pytest.mark.parametrize("values", ["{},", "1,", '{"transaction_information":{}},'])
def test_a_message_of_many_values(pipeline, small, values):
    """A few bytes of JSON each, and a hundred of memory where each were kept: such a message is refused before, and its neighbours are stored."""
    pipeline.migrate().listen_to(small).streams.append("many")
    service = pipeline.start("ingest", WORKERS=2).ready()
    payload = '{"event_name":"Deposited","network":"n","event_data":[' + values * (8_000_000 // len(values)) + "{}]}"
    for _ in range(4):
        pipeline.redis().xadd("many", {"payload": payload})
    pipeline.feed(small)
    until(lambda: len(pipeline.dead_letters()) == 4, "each is a dead letter", alive=[service])
    pipeline.start("cascade", "analytics")
    pipeline.drain()
    assert not pipeline.differences()
    assert {"more values than a message may hold" in letter["error"] for letter in pipeline.dead_letters()} == {True}
    if not SANITIZED:
        assert most_memory(service) < 512 << 20, most_memory(service)


def test_large_dead_letters_are_few_in_a_read(pipeline):
    """dlq reads them as verify and replay read the streams: by what came before."""
    redis, letter = pipeline.migrate().redis(), {"stage": "ingest", "stream": "s", "id": "1-1", "group": pipeline.group, "error_class": "type"}
    for _ in range(10):
        redis.xadd(pipeline.dead_letter_stream, {**letter, "payload": "x" * (1 << 20)})

    def reads():
        return redis.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"]
    before = reads()
    assert len(json.loads(pipeline.run("ingest", "dlq", "list", "--json").stdout)) == 10
    assert reads() - before == 5, "one, three times three, and that there are no more"


def test_large_entries_are_few_in_a_batch(pipeline, small):
    """What came before says how large they are; a batch then holds four MiB of them, not BATCH_SIZE."""
    pipeline.migrate().listen_to(small)
    large, redis = large_entries(small, 50), pipeline.redis()
    atom = large[0]
    service = pipeline.start("ingest", WORKERS=1).ready()
    pipeline.feed(large[:6])
    until(pipeline.drained(["ingest"]), "the first are stored", alive=[service])
    with pipeline.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE atom_created_events")
        pipeline.feed(large[6:])
        until(lambda: redis.xpending(atom.stream, pipeline.group)["pending"], "a batch is under way", alive=[service])
        until_it_waits_for_a_lock(pipeline, service)
        assert 1 <= redis.xpending(atom.stream, pipeline.group)["pending"] <= 5
        connection.execute("ROLLBACK")
    until(pipeline.drained(["ingest"]), "all are stored", alive=[service])
