"""Under a backlog: keys that wait unread in the next stage's stream are not queued twice, and no stream is forgotten for another."""
from dataclasses import replace

import pytest

import feeds
from test_poison import samples
from waiting import until

NEVER = 3_600_000   # no backfill comes to help


def entries(pipeline, stream):
    return [(fields["term_id"], fields.get("curve_id")) for _, fields in pipeline.redis().xrange(stream)]


def ingest_alone(pipeline, messages, **settings):
    """-> how many keys ingest left out; cascade's group is there and reads nothing."""
    client = pipeline.redis()
    if not client.exists(pipeline.vault_updates):
        client.xgroup_create(pipeline.vault_updates, pipeline.group, id="0", mkstream=True)
    ingest = pipeline.start("ingest", **{"BATCH_SIZE": 2, "BATCH_MAX_EVENTS": 20, "WORKERS": 2, **settings})
    pipeline.feed(messages)
    until(pipeline.drained(["ingest"]), "ingest is through", alive=[ingest])
    left_out = samples(ingest.ready(), "keys_waiting_total").get("", 0)
    ingest.stop()
    return left_out


def test_keys_that_wait_are_not_queued_twice(make_pipeline, part):
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER).listen_to(part)
    left_out = ingest_alone(pipeline, part)
    queued = entries(pipeline, pipeline.vault_updates)
    assert left_out > len(queued) / 4, f"{left_out} keys left out, {len(queued)} queued"
    with pipeline.connect() as connection:
        vaults = set(connection.execute("SELECT term_id, curve_id FROM vault").fetchall())
    assert vaults <= set(queued), "each vault stands in the stream"
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_what_another_replica_has_queued_is_not_queued_again(make_pipeline, part):
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER).listen_to(part)
    ingest_alone(pipeline, part)
    queued = entries(pipeline, pipeline.vault_updates)
    once_more = [replace(message, id=None) for message in part]
    left_out = ingest_alone(pipeline, once_more, BATCH_SIZE=20, BATCH_MAX_EVENTS=200, WORKERS=1)   # by a process that knows nothing yet
    again = entries(pipeline, pipeline.vault_updates)[len(queued):]
    assert len(again) < 0.8 * len(queued), f"{len(again)} keys queued again, of {len(queued)}; {left_out} left out"
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_what_is_delivered_again_queues_all_its_keys(make_pipeline, part):
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER).listen_to(part)
    ingest_alone(pipeline, part)
    before = len(entries(pipeline, pipeline.vault_updates))
    client = pipeline.redis()
    stream = next(s for s in pipeline.streams if s.endswith("deposited"))
    client.xgroup_setid(stream, pipeline.group, "0")
    client.xreadgroup(pipeline.group, "pod-0", {stream: ">"}, count=50)   # what a replica of that name had read
    pipeline.start("ingest", CONSUMER_NAME="pod", WORKERS=1, BATCH_SIZE=2, BATCH_MAX_EVENTS=20)
    until(pipeline.drained(["ingest"]), "ingest is through", alive=pipeline.alive())
    assert len(entries(pipeline, pipeline.vault_updates)) > before, "the entries that were delivered again have queued their keys"
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_who_else_reads_the_stream_is_told_every_key(make_pipeline, part):
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER).listen_to(part)
    client = pipeline.redis()
    client.xgroup_create(pipeline.vault_updates, pipeline.group, id="0", mkstream=True)
    client.xgroup_create(pipeline.vault_updates, "somebody-else", id="0")
    assert ingest_alone(pipeline, part) == 0


@pytest.mark.parametrize("replicas", [1, 2])
def test_nothing_is_left_behind_when_all_run(make_pipeline, recording, replicas):
    """Small batches: there is a backlog between the stages all the time, and each key that is left out depends on another's entry."""
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER, BATCH_SIZE=5, BATCH_MAX_EVENTS=20).listen_to(recording)
    pipeline.feed(recording)
    ingest = []
    for _ in range(replicas):
        ingest += pipeline.start("ingest", "cascade", "analytics")[:1]
    pipeline.drain().assert_exact()
    assert sum(samples(one, "keys_waiting_total").get("", 0) for one in ingest) > 0


@pytest.mark.parametrize("deleted", [False, True])
def test_a_stream_whose_lag_is_not_known_does_not_wait(make_pipeline, recording, deleted):
    """Entries that were deleted out of its middle, or all of it: Redis knows no lag, or no group; the other stream keeps every batch full."""
    kind = [m for m in recording if m.stream.endswith("share_price_changed")]
    other = [m for m in recording if m.stream.endswith("triple_created")][:20]
    pipeline = make_pipeline(BATCH_SIZE=2, BATCH_MAX_EVENTS=20, WORKERS=1, CLAIM_IDLE_MS=NEVER).listen_to(kind + other)
    client = pipeline.redis()
    much, little = kind[0].stream, other[0].stream
    pipeline.stop(pipeline.start("ingest").ready())
    ids = [id_ for _, id_, _ in feeds.write(client, other)]
    client.xdel(little, ids[1], ids[10])
    pipeline.feed(feeds.regrouped(kind, seed=1, size=1))
    ingest = pipeline.start("ingest").ready()
    if deleted:
        until(lambda: client.xinfo_groups(much)[0]["pending"], "it is busy", alive=[ingest])
        client.delete(little)
        ids = [id_ for _, id_, _ in feeds.write(client, other[-2:])]
    until(lambda: [g for g in client.xinfo_groups(little) if g["last-delivered-id"] == ids[-1]], "the other stream is read", alive=[ingest])
    assert client.xinfo_groups(much)[0]["lag"] > 0, "the backlog was there all the time"


def test_a_stream_with_little_does_not_wait_for_one_with_much(make_pipeline, recording):
    """One message of a kind of its own is through long before the others, which stand in front of it by the thousand."""
    kind = [m for m in recording if m.stream.endswith("share_price_changed")]
    rare = [m for m in recording if m.stream.endswith("triple_created")][:1]
    pipeline = make_pipeline(BATCH_SIZE=2, BATCH_MAX_EVENTS=20, WORKERS=1, MAX_MESSAGES_PER_SECOND=0).listen_to(kind + rare)
    pipeline.feed(feeds.regrouped(kind, seed=1, size=1))
    ingest = pipeline.start("ingest").ready()
    client = pipeline.redis()
    much, little = kind[0].stream, rare[0].stream
    until(lambda: client.xinfo_groups(much)[0]["entries-read"], "the backlog is worked off", alive=[ingest])
    pipeline.feed(rare)
    until(lambda: client.xinfo_groups(little)[0]["entries-read"], "the other stream is read", alive=[ingest])
    assert client.xinfo_groups(much)[0]["lag"] > 0, "the backlog was there all the time"
    until(pipeline.drained(["ingest"]), "all is through", alive=[ingest])
