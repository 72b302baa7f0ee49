"""What the variables do, as far as it can be seen from outside."""
import json
import re
import time

import pytest

import feeds
import oracle
from programs import SERVICES
from waiting import until


def groups_of(pipeline, stream):
    return {group["name"] for group in pipeline.redis().xinfo_groups(stream)}


def names(pipeline):
    return set(pipeline.redis().keys("*"))


def test_two_pipelines_share_one_redis(make_pipeline, small):
    """CONSUMER_GROUP_SUFFIX renames the group, the internal streams and the dead letters."""
    one = make_pipeline()
    two = make_pipeline(redis_db=one.redis_db, CONSUMER_GROUP_SUFFIX="b")
    three = make_pipeline(redis_db=one.redis_db, CONSUMER_GROUP_SUFFIX="c", CONSUMER_GROUP="mine", CASCADE_STREAM_NAME="vaults",
                          ANALYTICS_STREAM_NAME="terms", DLQ_STREAM_NAME="dead")
    bad = feeds.Message(small[0].stream, "Deposited", (), raw="no json")
    for pipeline in (one, two, three):
        pipeline.listen_to(small).start()
    entries = feeds.write(one.redis(), [*feeds.new_ids(small), bad])
    for pipeline in (one, two, three):
        pipeline.entries = entries
        pipeline.drain()
        assert not pipeline.differences()
        assert [letter["id"] for letter in pipeline.dead_letters()] == [entries[-1][1]]
    assert groups_of(one, small[0].stream) == {"postgres-sync", "postgres-sync-b", "mine-c"}
    assert names(one) >= {*one.streams, "vault_updates", "term_updates", "dead_letters", "vault_updates-b", "term_updates-b", "dead_letters-b",
                          "vaults-c", "terms-c", "dead-c"}
    assert groups_of(two, "vault_updates-b") == {"postgres-sync-b"} and groups_of(three, "terms-c") == {"mine-c"}


def test_consumer_name(pipeline, small):
    pipeline.listen_to(small).start("ingest", CONSUMER_NAME="somebody", WORKERS=3)
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    consumers = {c["name"] for stream in pipeline.streams for c in pipeline.redis().xinfo_consumers(stream, pipeline.group)}
    assert consumers and all(name.startswith("somebody") for name in consumers) and len(consumers) <= 3


def test_internal_entries_are_small_and_readable(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    for stream in (pipeline.vault_updates, pipeline.term_updates):
        entries = pipeline.redis().xrange(stream)
        assert entries
        for _, fields in entries:
            assert fields.keys() <= {"term_id", "curve_id", "reason", "block_number"} and fields.keys() >= {"term_id", "reason", "block_number"}
            assert re.fullmatch("0x[0-9a-f]{64}", fields["term_id"]) and fields["block_number"].isdigit()
    assert any("curve_id" in fields for _, fields in pipeline.redis().xrange(pipeline.vault_updates))


def length(pipeline, stream):
    return pipeline.redis().xlen(stream)


def lag_of(pipeline, stream):
    return next(g["lag"] for g in pipeline.redis().xinfo_groups(stream) if g["name"] == pipeline.group)


def test_input_is_not_trimmed_unless_asked(pipeline, part):
    pipeline.listen_to(part).start(STREAM_RETENTION_ENTRIES=1)
    pipeline.feed(part)
    pipeline.drain().assert_exact()
    assert sum(length(pipeline, stream) for stream in pipeline.streams) == len(part)


def test_trim_input(pipeline, recording, seed):
    messages = feeds.regrouped(recording, seed, 5)
    pipeline.listen_to(messages).start("ingest", TRIM_INPUT="true", STREAM_RETENTION_ENTRIES=10)
    pipeline.feed(messages)
    pipeline.start("cascade", "analytics")
    pipeline.drain()
    written = {stream: sum(m.stream == stream for m in messages) for stream in pipeline.streams}
    longest = max(written, key=written.get)
    until(lambda: length(pipeline, longest) < written[longest] / 2, f"{longest} is trimmed")
    for stream in pipeline.streams:
        assert length(pipeline, stream) >= min(10, written[stream]) and lag_of(pipeline, stream) == 0, stream
    pipeline.assert_exact()


def test_internal_streams_are_trimmed_behind_all_groups(pipeline, recording, seed):
    messages = feeds.regrouped(recording, seed, 5)
    pipeline.listen_to(messages)
    pipeline.redis().xgroup_create(pipeline.term_updates, "somebody-elses", id="0", mkstream=True)
    services = {service.name: service for service in pipeline.start(STREAM_RETENTION_ENTRIES=10, BATCH_MAX_EVENTS=20)}
    pipeline.feed(messages)
    pipeline.drain().assert_exact()
    added = pipeline.redis().xinfo_stream(pipeline.vault_updates)["entries-added"]
    assert added > 300
    until(lambda: length(pipeline, pipeline.vault_updates) < added / 2, "vault_updates is trimmed", alive=pipeline.alive())
    assert length(pipeline, pipeline.vault_updates) >= 10 and lag_of(pipeline, pipeline.vault_updates) == 0
    held = pipeline.redis().xinfo_stream(pipeline.term_updates)
    assert held["length"] == held["entries-added"], "a group that has not read holds trimming back"
    assert any("somebody-elses" in service.messages() for service in services.values()), "and is warned of"


def test_rate_limit(pipeline, small):
    """A lower bound of time is what the limit promises: 40 messages at 10 a second cannot take less than three."""
    messages = feeds.regrouped(small, 1, 1)[:40]
    pipeline.listen_to(messages)
    service = pipeline.start("ingest", MAX_MESSAGES_PER_SECOND=10).ready()
    begin = time.monotonic()
    pipeline.feed(messages)
    until(pipeline.drained(["ingest"]), "40 messages are through", alive=[service], pause=0.02)
    assert time.monotonic() - begin >= 2.5


def other_network(message, network):
    def moved(event):
        return {**event, "transaction_information": {**event["transaction_information"], "network": network}}
    return feeds.Message(message.stream, message.name, tuple(map(moved, message.events)), envelope=(("network", network),))


def test_the_first_network_is_pinned(pipeline, small):
    pipeline.listen_to(small)
    pipeline.feed(small[:20])
    first = pipeline.start("ingest")
    pipeline.drain(["ingest"])
    pipeline.stop(first)
    pipeline.start()
    foreign = other_network(small[30], "intuition-mainnet")
    entry = feeds.write(pipeline.redis(), [foreign])[0]
    pipeline.feed(feeds.new_ids(small[20:]))
    pipeline.drain()
    assert not pipeline.differences()
    letters = pipeline.dead_letters()
    assert [letter["id"] for letter in letters] == [entry[1]]
    assert "intuition-mainnet" in letters[0]["error"] and "network" in letters[0]["error"]


def test_network_given(pipeline, small):
    pipeline.listen_to(small).start(NETWORK="intuition-mainnet")
    pipeline.feed([other_network(message, "intuition-mainnet") for message in small[:30]])
    foreign = feeds.write(pipeline.redis(), feeds.new_ids(small[30:40]))
    pipeline.drain()
    assert not pipeline.differences()
    assert sorted(letter["id"] for letter in pipeline.dead_letters()) == sorted(entry[1] for entry in foreign)


def test_the_networks_fallback_is_the_envelopes(pipeline, small):
    def bare(message):
        abouts = [{k: v for k, v in e["transaction_information"].items() if k != "network"} for e in message.events]
        events = tuple({**e, "transaction_information": about} for e, about in zip(message.events, abouts))
        return feeds.Message(message.stream, message.name, events, envelope=(("network", "intuition-testnet"),))
    messages = [bare(message) for message in small]
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("settings", [
    {"DATABASE_PREPARED_STATEMENTS": "false"},
    {"BATCH_MAX_EVENTS": 1, "WORKERS": 2},
    {"BATCH_SIZE": 1},
    {"BATCH_SIZE": 10_000, "BATCH_MAX_EVENTS": 100_000, "WORKERS": 1},
    {"WORKERS": 16},
    {"STREAM_RETENTION_ENTRIES": 1},
    {"MAX_RETRIES": 1, "CIRCUIT_BREAKER_THRESHOLD": 1},
    {"BATCH_TIMEOUT_MS": 60_000},
], ids=str)
def test_exact_with(make_pipeline, small, seed, settings):
    pipeline = make_pipeline(**settings)
    messages = feeds.shuffled(small, seed)
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


def test_log_format_and_level(pipeline, small):
    as_json = pipeline.listen_to(small).start(LOG_FORMAT="json")
    quiet = pipeline.start(LOG_LEVEL="error")
    pipeline.feed(small)
    pipeline.drain()
    for service in as_json:
        lines = service.messages().splitlines()
        assert lines and all(isinstance(json.loads(line), dict) for line in lines)
    for service in quiet:
        assert service.messages() == ""


def test_entries_of_a_dead_consumer_are_claimed(pipeline, small):
    """CLAIM_IDLE_MS. The dead consumer read a share of every input stream and never acked."""
    pipeline.listen_to(small).feed(small)
    client = pipeline.redis()
    for stream in pipeline.streams:
        client.xgroup_create(stream, pipeline.group, id="0")
        client.xreadgroup(pipeline.group, "somebody-dead", {stream: ">"}, count=5)
    pipeline.start(CLAIM_IDLE_MS=500)
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("lost", ["vault_updates", "term_updates"])
def test_a_lost_internal_stream_is_filled_again(pipeline, part, lost):
    """BACKFILL_INTERVAL_MS: what the outbox holds is queued again."""
    pipeline.listen_to(part).start("ingest")
    pipeline.feed(part)
    pipeline.drain(["ingest"])
    if lost == "term_updates":
        cascade = pipeline.start("cascade", BACKFILL_INTERVAL_MS=500)
        pipeline.drain(["ingest", "cascade"])
        pipeline.stop(cascade)
    assert pipeline.redis().delete(lost) == 1
    pipeline.start("cascade", "analytics", BACKFILL_INTERVAL_MS=500)
    pipeline.drain().assert_exact()


def test_streams_that_vanish_under_the_readers(pipeline, small):
    """DEL of everything, while all wait for more: the groups are made again, and what comes then is read."""
    pipeline.listen_to(small)
    for service in pipeline.start(BACKFILL_INTERVAL_MS=500):
        service.ready()
    pipeline.feed(small[:20])
    pipeline.drain()
    pipeline.redis().delete(*pipeline.streams, pipeline.vault_updates, pipeline.term_updates)
    pipeline.feed(feeds.new_ids(small[20:]))
    pipeline.drain().assert_exact()


def test_redis_without_a_database_number_is_number_zero(make_pipeline, own_redis, small):
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0, REDIS_URL=f"redis://127.0.0.1:{own_redis.port}").listen_to(small)
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_redis_with_a_password(make_pipeline, own_redis, small):
    own_redis.start()
    own_redis.client().acl_setuser("reader", enabled=True, passwords=["+p%ss w@rd"], keys=["*"], commands=["+@all"])
    pipeline = make_pipeline(redis=own_redis, redis_db=3, REDIS_URL=f"redis://reader:p%25ss%20w%40rd@127.0.0.1:{own_redis.port}/3").listen_to(small)
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_the_start_warns_of_a_redis_that_may_forget(make_pipeline, own_redis):
    own_redis.start()
    own_redis.client().config_set("maxmemory-policy", "allkeys-lru")
    for service in make_pipeline(redis=own_redis).start():
        service.says("allkeys-lru")
        service.ready()


@pytest.mark.parametrize("name", SERVICES)
def test_config_may_be_forbidden(make_pipeline, own_redis, name):
    own_redis.start()
    own_redis.client().acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"])
    pipeline = make_pipeline(redis=own_redis, redis_db=0, REDIS_URL=f"redis://reader:x@127.0.0.1:{own_redis.port}/0").migrate()
    pipeline.start(name).ready()


def test_what_others_enriched_stays(pipeline, small):
    """An atom's enriched columns survive its event coming again."""
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("UPDATE atom SET type = 'Thing', emoji = '🦄', label = 'l', image = 'i', value_id = 'v', resolving_status = 'Resolved'")
        pipeline.feed(feeds.new_ids(small))
        pipeline.drain()
        rows = connection.execute("SELECT DISTINCT type, emoji, label, image, value_id, resolving_status FROM atom").fetchall()
    assert rows == [("Thing", "🦄", "l", "i", "v", "Resolved")]
    enriched = {d.column for d in pipeline.differences()}
    assert enriched == {"type", "emoji", "label", "image", "value_id", "resolving_status"}
    assert pipeline.run("ingest", "verify").returncode == 0
    assert all(d.table == "atom" for d in pipeline.differences(tables=oracle.DERIVED_TABLES))
