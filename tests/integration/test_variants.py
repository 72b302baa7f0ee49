"""The same events in every form and order a producer may send them: the same tables."""
import pytest

import feeds

VARIANTS = {
    "shuffled": feeds.shuffled,
    "a fifth twice": feeds.doubled,
    "one stream": lambda m, seed: feeds.single_stream(m),
    "numbers in all forms": feeds.numbers,
    "ids in all forms": feeds.casing,
    "null timestamps": feeds.null_timestamps,
    "no timestamps at all": lambda m, seed: feeds.null_timestamps(m, seed, share=1.0),
    "one event per entry": lambda m, seed: feeds.regrouped(m, seed, 1),
    "a hundred events per entry": lambda m, seed: feeds.regrouped(m, seed, 100),
    "one object in place of the array": lambda m, seed: feeds.one_object(m),
    "in the field event_data": lambda m, seed: feeds.in_field(m, "event_data"),
    "in the field data": lambda m, seed: feeds.in_field(m, "data"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(pipeline, part, seed, name):
    messages = VARIANTS[name](part, seed)
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


def test_everything_at_once_on_two_replicas(pipeline, recording, seed):
    messages = feeds.numbers(feeds.casing(feeds.null_timestamps(recording, seed, 0.1), seed), seed)
    messages = feeds.shuffled(feeds.doubled(messages, seed), seed)
    pipeline.listen_to(messages)
    for _ in range(2):
        pipeline.start(WORKERS=4)
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


def test_every_event_comes_again_after_all_is_drained(pipeline, small, seed):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    pipeline.feed(feeds.shuffled(small, seed))
    pipeline.drain().assert_exact()


def test_an_empty_array_is_acked(pipeline, small):
    pipeline.listen_to(small).start()
    stream = pipeline.streams[0]
    pipeline.feed([feeds.Message(stream, "Deposited", ()), *feeds.new_ids(small), feeds.Message(stream, "Unheard", ())])
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("order", ["before the feed", "in its middle", "after ingest has drained it"])
def test_cascade_and_analytics_started(pipeline, part, order):
    pipeline.listen_to(part)
    middle = len(part) // 2
    if order == "before the feed":
        pipeline.start("analytics", "cascade")
    pipeline.start("ingest")
    pipeline.feed(part[:middle])
    if order == "in its middle":
        pipeline.start("cascade", "analytics")
    pipeline.feed(part[middle:])
    if order == "after ingest has drained it":
        pipeline.drain(["ingest"])
        pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_ingest_last(pipeline, part):
    """The feed is there before anything runs; the database has no schema when cascade and analytics start."""
    pipeline.listen_to(part)
    pipeline.feed(part)
    pipeline.start("analytics", "cascade")
    pipeline.start("ingest")
    pipeline.drain().assert_exact()
