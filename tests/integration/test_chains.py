"""Generated chains: what no recording has."""
import random

import pytest

import chain

SHAPES = {
    "in order": {},
    "twin blocks": {"twins": True},
    "null timestamps": {"null_timestamps": 0.3},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", range(2))
def test_chain(pipeline, seed, shape, offset):
    messages = chain.messages(chain.Chain(seed + offset, **SHAPES[shape]).events)
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


@pytest.mark.parametrize("per_entry", [1, 100])
def test_shuffled_chain_on_two_replicas(pipeline, seed, per_entry):
    rng = random.Random(seed)
    messages = chain.messages(chain.Chain(seed, twins=True, null_timestamps=0.1).events, per_entry)
    messages += rng.sample(messages, len(messages) // 5)
    rng.shuffle(messages)
    pipeline.listen_to(messages)
    for _ in range(2):
        pipeline.start(WORKERS=4)
    pipeline.feed(messages)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_one_stream_of_everything(pipeline, seed):
    messages = chain.messages(chain.Chain(seed).events, stream="everything")
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


def test_the_smallest_batches(make_pipeline, seed):
    pipeline = make_pipeline(BATCH_SIZE=1, BATCH_MAX_EVENTS=1, WORKERS=1)
    messages = chain.messages(chain.Chain(seed, blocks=15).events, per_entry=3)
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain().assert_exact()


def test_ten_hot_vaults_and_pairs_never_deadlock(pipeline, seed):
    """assert_exact looks at PostgreSQL's count of deadlocks."""
    made = chain.Chain(seed, blocks=40, per_block=60)
    hot = {vault[:2] for vault in made.vaults[:10]}
    events = [(name, event) for name, event in made.events if (event.get("termId"), int(event.get("curveId", -1))) in hot or name.endswith("Created")]
    messages = chain.messages(events, per_entry=5)
    random.Random(seed).shuffle(messages)
    pipeline.listen_to(messages)
    for _ in range(3):
        pipeline.start(WORKERS=4, BATCH_SIZE=10)
    pipeline.feed(messages)
    pipeline.drain().assert_exact()
