"""Memory does not grow with poison."""
import random

import pytest

import chain
import feeds
import poison
from programs import executable
from test_poison import NETWORK, assert_undisturbed, generated

SANITIZED = any(word in open(executable("ingest"), "rb").read() for word in (b"__asan_init", b"__tsan_init", b"__msan_init"))
no_sanitizer = pytest.mark.skipif(SANITIZED, reason="built with a sanitizer, which keeps memory that is free")
MB = 1024 * 1024


def most_memory(service):
    """The most that the process ever had in memory, in bytes."""
    with open(f"/proc/{service.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def brewed(rng, large):
    """Messages without a good event: PostgreSQL has nothing to store."""
    return [one.message for one in poison.brew([kind for kind in poison.kinds(rng) if kind.large == large], generated(rng), rng, good=0)]


@no_sanitizer
def test_memory_does_not_grow_with_poison(pipeline, seed):
    """Twice as many messages, the same memory: what would be kept of each would be less than 160 bytes."""
    messages = brewed(random.Random(seed), large=False)
    pipeline.streams = [*chain.STREAMS.values(), chain.OTHER_STREAM]
    pipeline.migrate()
    service = pipeline.start("ingest", WORKERS=1, BATCH_MAX_EVENTS=50, LOG_LEVEL="error", **NETWORK)
    client, most, rounds = pipeline.redis(), [], 20_000 // len(messages) + 1
    for _ in range(2):
        for _ in range(rounds):
            feeds.write(client, messages)
        pipeline.drain(["ingest"])
        most.append(most_memory(service))
    assert client.xlen(pipeline.dead_letter_stream) == 2 * rounds * len(messages)
    assert most[1] - most[0] < 3 * MB, most
    assert_undisturbed([service])


@no_sanitizer
def test_memory_does_not_grow_with_large_poison(pipeline, seed):
    """One by one, so that two are never in memory at once."""
    messages = brewed(random.Random(seed), large=True)
    pipeline.streams = [*chain.STREAMS.values(), chain.OTHER_STREAM]
    service = pipeline.start("ingest", WORKERS=1, **NETWORK)
    client, most = pipeline.redis(), []
    for _ in range(5):   # at first the heap takes its shape
        for message in messages:
            feeds.write(client, [message])
            pipeline.drain(["ingest"])
            assert client.xlen(pipeline.dead_letter_stream) == 1
            client.xtrim(message.stream, 0)
            client.delete(pipeline.dead_letter_stream)
        most.append(most_memory(service))
    assert most[4] - most[3] < 5 * MB, most
    assert_undisturbed([service])
