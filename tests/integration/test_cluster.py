"""Redis Cluster, plain and over TLS: the programs follow the one hash slot that holds all their streams, through a move and a failover; streams in
several slots are refused."""
from dataclasses import replace

import pytest

from authority import Authority
from programs import SERVICES
from test_failover import events_of
from test_sentinel import FAST, line_of
from test_tls import needs_tls
from topologies import Cluster
from waiting import until

TAGGED = {"CASCADE_STREAM_NAME": "{t}vault_updates", "ANALYTICS_STREAM_NAME": "{t}term_updates", "DLQ_STREAM_NAME": "{t}dead_letters"}


@pytest.fixture(scope="module")
def servers():
    started = []
    yield started
    for server in started:
        server.close()


@pytest.fixture(scope="module", params=["plain", pytest.param("tls", marks=needs_tls)])
def cluster(request, server_folder, servers):
    authority = Authority(server_folder) if request.param == "tls" else None
    made = Cluster(server_folder, servers, authority)
    made.settings = {"REDIS_CA_FILE": authority.file} if authority else {}
    return made


def tagged(messages):
    return [replace(message, stream="{t}" + message.stream, id=None) for message in messages]


def test_streams_in_several_slots_are_refused(cluster, make_pipeline):
    pipeline = make_pipeline(redis=cluster, redis_db=0, database=False, **cluster.settings)
    said = line_of(pipeline)
    assert said.startswith("FAIL") and "rindexer_producer, vault_updates, term_updates, dead_letters" in said
    assert "several of its hash slots; give all of them a common {tag}" in said
    for name in SERVICES:
        service = pipeline.start(name)
        service.says("for=redis reason=.*several of its hash slots.*vault_updates, term_updates, dead_letters")
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") != 200


def test_check_shows_the_cluster(cluster, make_pipeline):
    """From whichever node is named, replicas too."""
    pipeline = make_pipeline(redis=cluster, redis_db=0, database=False, **TAGGED, **cluster.settings)
    pipeline.streams = ["{t}rindexer_producer"]
    owner = cluster.owner()
    for node in cluster.nodes:
        said = line_of(pipeline, REDIS_URL=node.url())
        assert said.startswith("ok") and (node is owner or f"{cluster.host}:{owner.port}, master of our streams' hash slot" in said), node.port
    checked = pipeline.run("ingest", "check").stdout
    assert "a cluster of 6 nodes, 3 of them masters with slots, state ok; all streams are in one slot" in checked


def test_a_slot_is_moved_and_a_master_killed_under_feed(cluster, make_pipeline, part):
    part = tagged(part)
    a, b = len(part) // 3, 2 * len(part) // 3
    pipeline = make_pipeline(redis=cluster, redis_db=0, **TAGGED, **FAST, **cluster.settings).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(part[:a])
    until(lambda: events_of(pipeline) > 10, "some of it is stored", alive=services)
    first = cluster.owner()
    cluster.move_slot(next(node for node in cluster.nodes[:3] if node is not first))
    until(lambda: cluster.owner() and cluster.owner() is not first, "the slot is moved", alive=services)
    pipeline.feed(part[a:b])
    pipeline.drain().assert_exact()
    before = events_of(pipeline)
    pipeline.feed(part[b:])
    until(lambda: events_of(pipeline) > before, "some of the last third is stored", alive=services)
    second = cluster.owner()
    second.kill()
    until(lambda: cluster.owner(), "a replica has taken over", alive=services)
    pipeline.feed(part[b:])   # the producer sends again what the replica may not have
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
    second.start()   # for whatever runs after this
