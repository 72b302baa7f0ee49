"""Redis Sentinel: the master is asked for at each connection, and follows a failover, a demotion, a return; a list of two servers does the same by ROLE."""
import pytest
import redis

import feeds
from ports import free_port
from servers import RedisServer
from test_connections import Dummy
from test_failover import events_of
from topologies import Sentinel, Watched
from waiting import until

# The breaker stays closed: its probe would make new connections whatever the error was.
FAST = {"CIRCUIT_BREAKER_THRESHOLD": 100_000, "CLAIM_IDLE_MS": 500, "BACKFILL_INTERVAL_MS": 500}


@pytest.fixture
def watched(server_folder, own_servers):
    return Watched(server_folder, own_servers)


def line_of(pipeline, **settings):
    lines = pipeline.run("ingest", "check", **settings).stdout.splitlines()
    return next(line for line in lines if line.split()[1] == "redis")


def test_check_shows_the_topology(watched, make_pipeline):
    pipeline = make_pipeline(redis=watched, redis_db=0, database=False)
    primary, sentinel = watched.owner(), watched.sentinels[0]
    said = line_of(pipeline)
    assert said.startswith("ok") and f"127.0.0.1:{primary.port}, master main, named by the sentinel 127.0.0.1:{sentinel.port}" in said
    assert "(quorum 2, other sentinels 2, replicas 1)" in said
    said = line_of(pipeline, REDIS_URL=watched.url().replace("/main/", "/other/"))
    assert said.startswith("FAIL") and said.count("this sentinel knows no master called other") == 3
    silent = Dummy()
    try:
        first = f"redis+sentinel://127.0.0.1:{silent.port},127.0.0.1:{watched.sentinels[1].port}/main"
        said = line_of(pipeline, REDIS_URL=first)
        assert said.startswith("ok") and f"named by the sentinel 127.0.0.1:{watched.sentinels[1].port}" in said
    finally:
        silent.close()
    gone = ",".join(f"127.0.0.1:{free_port()}" for _ in range(2))
    said = line_of(pipeline, REDIS_URL=f"redis+sentinel://{gone}/main")
    assert said.startswith("FAIL") and said.count("Connection refused") == 2


def test_sentinels_and_servers_with_a_password(server_folder, own_servers, make_pipeline):
    primary = RedisServer(server_folder, arguments=("--requirepass", "word"))
    primary.client = lambda db=0, plain=primary.client: _with_password(plain(db))
    sentinel = Sentinel(server_folder, primary, password="word", quorum=1)
    own_servers += [primary.start(), sentinel.start()]
    pipeline = make_pipeline(redis=primary, redis_db=0, database=False)
    until(lambda: sentinel.master_port() == primary.port, "the sentinel knows the primary", alive=[sentinel])
    url = f"redis+sentinel://:word@127.0.0.1:{sentinel.port}/main"
    assert line_of(pipeline, REDIS_URL=url).startswith("ok")
    assert line_of(pipeline, REDIS_URL=url.replace(":word", ":wrong")).startswith("FAIL")


def _with_password(client):
    client.connection_pool.connection_kwargs["password"] = "word"
    return client


def test_a_primary_is_killed_and_comes_back(watched, make_pipeline, part):
    """Killed under feed: the replica takes over. The producer sends again what may be lost. The old primary comes back, becomes a replica,
    and a failover by hand makes it primary again, under feed."""
    part = feeds.new_ids(part)
    first, a, b = watched.owner(), len(part) // 3, 2 * len(part) // 3
    pipeline = make_pipeline(redis=watched, redis_db=0, **FAST).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(part[:a])
    until(lambda: events_of(pipeline) > 10, "some of it is stored", alive=services)
    first.kill()
    until(lambda: watched.owner() and watched.owner() is not first, "the replica has taken over", alive=services)
    pipeline.feed(part[:b])
    pipeline.drain().assert_exact()
    first.start()
    until(lambda: first.client().role()[0] == "slave" and len(watched.owner().client().role()[2]) == 1, "the old primary is a replica", alive=services)
    pipeline.feed(part[b:b + (len(part) - b) // 2])
    until(lambda: watched.owner() is first or _fail_over(watched), "a failover by hand has begun, however often it is given up", alive=services)
    until(lambda: first.client().role()[0] == "master", "the old primary is primary again", alive=services)
    pipeline.feed(part[b:])
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def _fail_over(watched):
    try:
        watched.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", "main")
    except redis.ResponseError as refusal:   # NOGOODSLAVE, INPROG: not yet
        assert str(refusal).startswith(("NOGOODSLAVE", "INPROG")), refusal


def test_a_demoted_primary_answers_readonly(server_folder, own_servers, make_pipeline, small):
    """Without sentinels that cut its connections: the URL lists both servers, and the one that takes writes is found by ROLE."""
    one, two = (RedisServer(server_folder, append_only=True) for _ in range(2))
    own_servers += [one.start(), two.start()]
    two.client().replicaof("127.0.0.1", one.port)
    until(lambda: len(one.client().role()[2]) == 1 and two.client().role()[3] == "connected", "the replica follows", alive=[one, two])
    url = f"redis://127.0.0.1:{two.port},127.0.0.1:{one.port}/0"   # the replica first
    pipeline = make_pipeline(redis=one, redis_db=0, REDIS_URL=url, **FAST).listen_to(small)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(small[:len(small) // 2])
    pipeline.drain()
    until(lambda: one.client().info("replication")["slave0"]["offset"] == one.client().info("replication")["master_repl_offset"],
          "the replica has all of it", alive=services)
    two.client().replicaof("NO", "ONE")
    one.client().replicaof("127.0.0.1", two.port)
    pipeline.redis_server = two
    pipeline.feed(small[len(small) // 2:])
    until(pipeline.drained(), "the new primary is drained", alive=services)
    pipeline.assert_exact()
    assert any("READONLY" in service.messages() for service in services)
