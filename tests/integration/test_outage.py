"""A server is away under a feed: the breaker opens, /health says what is wrong, nothing is dead-lettered, nobody spins, and all is well again
by itself when it is back. OUTAGE_SECONDS says for how long: short here, a minute in tests/chaos/run."""
import os
import time

import pytest

from proxy import Proxy, Trap
from test_http import health
from test_sequences import STREAM, deposit, deposits, lock_positions
from waiting import until

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "4"))
SHARE = 0.05 if SECONDS >= 30 else 0.5   # of the outage's time may go to the processor; over a few seconds the blow itself weighs more
BREAKER = {"CIRCUIT_BREAKER_TIMEOUT_MS": 1000}


def processor_seconds(service):
    fields = open(f"/proc/{service.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("away", ["postgres", "redis"])
def test_a_server_is_away_for_a_while(make_pipeline, own_redis, own_postgres, part, away):
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, **BREAKER).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(part[:len(part) // 2])
    server, other, field, intact = ((own_postgres, own_redis, "postgres_sync_healthy", "redis_consumer_healthy") if away == "postgres"
                                    else (own_redis, own_postgres, "redis_consumer_healthy", "postgres_sync_healthy"))
    server.kill()
    if away == "postgres":
        pipeline.feed(part[len(part) // 2:])
    until(lambda: all(not health(service)[1][field] for service in services), "all see the outage", alive=services)
    until(lambda: not health(services[0])[1]["circuit_breaker_closed"], "the breaker of ingest is open", alive=services)
    before, began = [processor_seconds(service) for service in services], time.monotonic()
    until(lambda: time.monotonic() - began >= SECONDS, "the outage is over", alive=services)
    passed = time.monotonic() - began
    used = [now - then for now, then in zip(map(processor_seconds, services), before)]
    for service, spent in zip(services, used):
        status, body = health(service)
        assert status == 503 and not body["healthy"] and not body[field] and body[intact], body
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 503
        assert spent < SHARE * passed, f"{service.label} used {spent:.2f} s of the processor in an outage of {passed:.0f} s"
    server.start()
    if away == "redis":
        pipeline.feed(part[len(part) // 2:])
    for service in services:
        until(lambda: health(service)[0] == 200, f"{service.label} is healthy again", alive=services)
    for service in services:
        assert service.messages().count("housekeeping failed") <= 1, f"said once, not every round\n{service.tail()}"
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


@pytest.fixture(name="proxy")
def _proxy(postgres_server, seed):
    proxy = Proxy(postgres_server.port, seed)
    yield proxy
    proxy.close()


def behind(pipeline, proxy):
    return {"DATABASE_URL": proxy.url(pipeline.environment()["DATABASE_URL"])}


def test_a_postgresql_that_does_not_answer_says_nothing_of_redis(pipeline, proxy):
    """It takes connections and is silent. Each server has a monitor of its own: Redis is healthy in every round."""
    service = pipeline.migrate().start("ingest", **behind(pipeline, proxy)).ready()
    proxy.set(Trap(request=b"")).reached.set()
    until(lambda: not health(service)[1]["postgres_sync_healthy"], "PostgreSQL is seen to be away", alive=[service])
    seen = []

    def ten_rounds():
        body = health(service)[1]
        if not body["redis_consumer_healthy"]:
            seen.clear()   # a machine that stands still for a second does that, too; but not in each round
        elif not seen or seen[-1] != body["last_check"]:
            seen.append(body["last_check"])
        return len(seen) == 10
    until(ten_rounds, "Redis is healthy in ten rounds one behind the other", alive=[service], pause=0.01)
    assert not health(service)[1]["postgres_sync_healthy"]


def test_one_loss_of_postgresql_is_one_failure_of_many_workers(make_pipeline):
    """A restart ends the sessions of all eight workers, in the middle of a batch each. The breaker's threshold is five in a row."""
    pipeline = make_pipeline(WORKERS=8, BATCH_SIZE=1, BATCH_MAX_EVENTS=1, CIRCUIT_BREAKER_TIMEOUT_MS=3_600_000).migrate()
    pipeline.streams = [STREAM]
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute("LOCK TABLE deposited_events IN ACCESS EXCLUSIVE MODE")
        service = pipeline.start("ingest").ready()
        pipeline.feed([deposits(deposit(n, term=n)) for n in range(1, 30)])

        def sessions():
            rows = watcher.execute("""SELECT pid FROM pg_stat_activity a WHERE datname = current_database() AND application_name = 'ingest'
                                      AND wait_event_type = 'Lock' AND EXISTS (   -- a batch has the event lock, or wants it
                                        SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')""").fetchall()
            return [pid for pid, in rows]
        for _ in range(2):   # at first the workers' connections are new: a failure of such a one is that of an idle one
            until(lambda: len(sessions()) == 8, "all workers are in a batch", alive=[service])
            pids = sessions()
            assert watcher.execute("SELECT count(pg_terminate_backend(pid)) FROM unnest(%s::int[]) p (pid)", (pids,)).fetchone()[0] == 8
            until(lambda: not set(pids) & set(sessions()), "their sessions have ended", alive=[service])
        until(lambda: len(sessions()) == 8, "all are back", alive=[service])
        holder.rollback()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    assert "circuit breaker open" not in service.messages(), service.tail()


def test_a_cancel_that_cannot_be_delivered(pipeline, proxy):
    """The network takes no new connection when a batch is over its deadline: the worker gives its own up and goes on."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as holder:
        lock_positions(holder, 3)
        proxy.silent_to = rb"^\x00\x00\x00\x10\x04\xd2\x16\x2e"   # CancelRequest
        service = pipeline.start("ingest", WORKERS=1, PROCESSING_TIMEOUT_MS=1000, NETWORK="intuition-testnet", **behind(pipeline, proxy))
        pipeline.feed([deposits(deposit(1, account=3))])
        until(lambda: proxy.silent, "a cancel is on its way", alive=[service])
        holder.rollback()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
    assert service.status_of("/livez") == 200
