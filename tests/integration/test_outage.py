"""A server is away under a feed: the breaker opens, /health says what is wrong, nothing is dead-lettered, nobody spins, and all is well again
by itself when it is back. OUTAGE_SECONDS says for how long: short here, a minute in tests/chaos/run."""
import os
import time

import pytest

from test_http import health

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "4"))
SHARE = 0.05 if SECONDS >= 30 else 0.5   # of the outage's time may go to the processor; over a few seconds the blow itself weighs more
BREAKER = {"CIRCUIT_BREAKER_TIMEOUT_MS": 1000}


def processor_seconds(service):
    fields = open(f"/proc/{service.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("away", ["postgres", "redis"])
def test_a_server_is_away_for_a_while(make_pipeline, own_redis, own_postgres, part, away):
    from waiting import until
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
