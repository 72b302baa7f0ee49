"""A server fails over to a copy that had not heard of the last writes.

Redis: input entries, acks and inner streams are lost with the old primary. The producer sends again what was not replicated (rindexer does after its
own restart); then the law holds, though the groups stand behind, entries come twice, and vaults were cascaded whose entries the new primary never had.

PostgreSQL: transactions are lost whose entries are acked. `ingest replay --from` an id before the failover reads them again."""
from dataclasses import replace

import feeds
from proxy import Proxy
from servers import PostgresServer, RedisServer
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


def test_a_standby_that_lags_is_promoted(make_pipeline, own_servers, server_folder):
    sender = {"wal_level": "replica", "max_wal_senders": "4"}
    primary = PostgresServer(server_folder, durable=True, settings=sender)
    own_servers.append(primary.start())
    reorg = [replace(message, id=None) for message in feeds.load("reorg.jsonl.xz")]
    a, b = len(reorg) // 3, 2 * len(reorg) // 3
    pipeline = make_pipeline(postgres=primary, CIRCUIT_BREAKER_TIMEOUT_MS=500, BACKFILL_INTERVAL_MS=500).listen_to(reorg)
    proxy = Proxy(primary.port)
    try:
        services = [service.ready() for service in pipeline.start(DATABASE_URL=proxy.url(primary.url(pipeline.database)))]
        pipeline.feed(reorg[:a])
        until(pipeline.drained(), "the first third is through", alive=services)
        standby = PostgresServer(server_folder, durable=True, settings=sender, follows=primary)
        own_servers.append(standby)
        seconds, micros = pipeline.redis().time()
        pipeline.feed(reorg[a:b])
        until(pipeline.drained(), "the second third is through, and acked", alive=services)
        stored = events_of(pipeline)
        primary.kill()
        standby.start().connect().execute("SELECT pg_promote()")
        pipeline.postgres_server, proxy.target = standby, standby.port
        until(lambda: not pipeline.connect().execute("SELECT pg_is_in_recovery()").fetchone()[0], "the standby is promoted", alive=services)
        assert events_of(pipeline) < stored, "nothing was lost"
        pipeline.feed(reorg[b:])
        until(pipeline.drained(), "the last third is through", alive=services)
        assert pipeline.differences(), "what the standby had not heard of cannot be there yet"
        done = pipeline.run("ingest", "replay", "--from", f"{seconds * 1000 + micros // 1000 - 1}-0")
        assert done.returncode == 0, done.stderr
        pipeline.drain().assert_exact()
        pipeline.assert_verified()
    finally:
        proxy.close()


def events_of(pipeline):
    return pipeline.connect().execute("SELECT (SELECT count(*) FROM deposited_events) + (SELECT count(*) FROM share_price_changed_events) + "
                                      "(SELECT count(*) FROM atom_created_events) + (SELECT count(*) FROM orphaned_events)").fetchone()[0]
