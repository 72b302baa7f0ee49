"""Redis fails over to a replica that had not heard of the last writes: input entries, acks and inner streams are lost with the old primary. The
producer sends again what was not replicated (rindexer does after its own restart); then the law holds, though the groups stand behind, entries come twice,
and vaults were cascaded whose entries the new primary never had."""
from dataclasses import replace

from proxy import Proxy
from servers import RedisServer
from waiting import until


def test_a_replica_that_lags_takes_over(make_pipeline, own_redis, own_servers, server_folder, part):
    primary = own_redis.start()
    replica = RedisServer(server_folder, append_only=True, arguments=("--replicaof", "127.0.0.1", str(primary.port)))
    own_servers.append(replica.start())
    until(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica follows", alive=[replica])
    part = [replace(message, id=None) for message in part]
    a, b = len(part) // 3, 2 * len(part) // 3
    pipeline = make_pipeline(redis=primary, redis_db=0, CIRCUIT_BREAKER_TIMEOUT_MS=500, CLAIM_IDLE_MS=500, BACKFILL_INTERVAL_MS=500).listen_to(part)
    proxy = Proxy(primary.port)
    try:
        services = [service.ready() for service in pipeline.start(REDIS_URL=proxy.url(primary.url()))]
        pipeline.feed(part[:a])
        until(lambda: pipeline.connect().execute("SELECT count(*) FROM deposited_events").fetchone()[0] > 10, "some of it is stored", alive=services)
        replica.client().execute_command("REPLICAOF", "NO", "ONE")   # from here on it hears of nothing
        pipeline.feed(part[a:b])
        before = pipeline.connect().execute("SELECT count(*) FROM deposited_events").fetchone()[0]
        until(lambda: pipeline.connect().execute("SELECT count(*) FROM deposited_events").fetchone()[0] > before + 10,
              "some of what is lost in Redis is stored", alive=services)
        primary.kill()
        pipeline.redis_server, proxy.target = replica, replica.port
        assert replica.client().xlen(part[a].stream) < sum(message.stream == part[a].stream for message in part[:b]), "nothing was lost"
        pipeline.feed(part[a:])
        pipeline.drain().assert_exact()
        pipeline.assert_verified()
    finally:
        proxy.close()
