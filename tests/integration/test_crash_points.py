"""A program is killed at each place between reading and acking where a crash matters, once each; another takes over, and all is exact.

The places are points of its conversation with Redis and PostgreSQL: a proxy holds the conversation there, then the program is killed."""
import pytest

import feeds
from programs import SERVICES
from proxy import Proxy, Trap

INPUT = {"ingest": "payload", "cascade": "term_id", "analytics": "term_id"}
POISON = '{"event_name": "Deposited", "event_data": [{}]}'

# name: (server, trap)
POINTS = {
    "read, not received": ("redis", lambda name: Trap(reply=rf"{INPUT[name]}\r\n".encode())),
    "received, nothing done": ("postgres", lambda _: Trap(request=rb"BEGIN ISOLATION")),
    "before the commit": ("postgres", lambda _: Trap(request=rb"COMMIT")),
    "committed, unknown": ("postgres", lambda _: Trap(request=rb"COMMIT", after=True)),
    # analytics publishes nothing: an ack alone needs no MULTI, which Redis refuses where its memory is short
    "committed, before it is published and acked": ("redis", lambda name: Trap(request=rb"XACK" if name == "analytics" else rb"MULTI")),
    "acked, unknown": ("redis", lambda name: Trap(request=rb"XACK" if name == "analytics" else rb"EXEC\r\n", after=True)),
}


@pytest.fixture
def proxies(redis_server, postgres_server, seed):
    both = {"redis": Proxy(redis_server.port, seed), "postgres": Proxy(postgres_server.port, seed)}
    yield both
    for proxy in both.values():
        proxy.close()


def victim(pipeline, proxies, name, **settings):
    """One worker, behind the proxies."""
    plain = pipeline.environment()
    return pipeline.start(name, WORKERS=1, REDIS_URL=proxies["redis"].url(plain["REDIS_URL"]),
                          DATABASE_URL=proxies["postgres"].url(plain["DATABASE_URL"]), **settings)


def killed_at(service, trap):
    assert trap.reached.wait(timeout=120), f"{service.label} never came to the point\n{service.tail()}"
    service.kill()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", SERVICES)
def test_killed_there_and_taken_over(make_pipeline, proxies, small, name, point):
    pipeline = make_pipeline(CLAIM_IDLE_MS=300, BACKFILL_INTERVAL_MS=60000).migrate().listen_to(small)
    others = [other for other in SERVICES if other != name]
    pipeline.start(*others)
    service = victim(pipeline, proxies, name).ready()
    server, make = POINTS[point]
    trap = proxies[server].set(make(name))
    pipeline.feed(small)
    killed_at(service, trap)
    pipeline.start(name)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


@pytest.mark.parametrize("after", [False, True], ids=["before the letter", "letter written, unknown"])
def test_one_letter_whatever_happens_to_its_writer(make_pipeline, proxies, small, after):
    pipeline = make_pipeline(CLAIM_IDLE_MS=300).migrate().listen_to(small)
    service = victim(pipeline, proxies, "ingest").ready()
    trap = proxies["redis"].set(Trap(request=rb"error_class", after=after))
    pipeline.feed(small)
    id_ = pipeline.redis().xadd(small[0].stream, {"payload": POISON})
    killed_at(service, trap)
    pipeline.start()
    pipeline.drain()
    assert [letter["id"] for letter in pipeline.dead_letters()] == [id_]
    assert not pipeline.differences()


@pytest.mark.parametrize("after", [False, True], ids=["before the claim", "claimed, unknown"])
def test_killed_while_claiming(make_pipeline, proxies, small, after):
    pipeline = make_pipeline(CLAIM_IDLE_MS=300).migrate().listen_to(small)
    pipeline.feed(small)
    client = pipeline.redis()
    for stream in pipeline.streams:
        client.xgroup_create(stream, pipeline.group, id="0")
        client.xreadgroup(pipeline.group, "dead", {stream: ">"}, count=100)
    trap = proxies["redis"].set(Trap(request=rb"XAUTOCLAIM", after=after))
    killed_at(victim(pipeline, proxies, "ingest"), trap)
    pipeline.start()
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("after", [False, True], ids=["before the backfill", "backfilled, unknown"])
@pytest.mark.parametrize("name", ["cascade", "analytics"])
def test_killed_while_backfilling(make_pipeline, proxies, small, name, after):
    pipeline = make_pipeline(CLAIM_IDLE_MS=300, BACKFILL_INTERVAL_MS=200).migrate().listen_to(small)
    before = list(SERVICES[:SERVICES.index(name)])
    pipeline.start(*before)
    pipeline.feed(small)
    pipeline.drain(before)
    pipeline.stop()
    pipeline.redis().delete(pipeline.vault_updates if name == "cascade" else pipeline.term_updates)
    trap = proxies["redis"].set(Trap(request=rb"backfill", after=after))
    killed_at(victim(pipeline, proxies, name), trap)
    pipeline.start()   # those before it, too: a batch that two of them did may have been published again while they stopped
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_killed_in_the_middle_of_a_reorg(make_pipeline, proxies):
    reorg = feeds.load("reorg.jsonl.xz")
    pipeline = make_pipeline(CLAIM_IDLE_MS=300).migrate().listen_to(reorg)
    service = victim(pipeline, proxies, "ingest").ready()
    trap = proxies["postgres"].set(Trap(request=rb"fork_block.*COMMIT"))
    pipeline.feed(reorg)
    killed_at(service, trap)
    pipeline.start()
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
