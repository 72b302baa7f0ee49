"""The HTTP of all three: /health with its fields and its 200 and 503, /livez, /readyz, /metrics as promtool likes it, /status."""
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest

import oracle
from programs import SERVICES
from proxy import Proxy
from waiting import until

FIELDS = {"healthy", "redis_consumer_healthy", "postgres_sync_healthy", "circuit_breaker_closed", "last_check", "metrics"}
METRICS = {"total_events_processed", "total_events_failed", "circuit_breaker_state", "redis_consumer_health", "postgres_sync_health"}
REQUIRED = ("events_processed_total", "events_failed_total", "event_processing_duration_seconds_bucket", "circuit_breaker_state")


def health(service):
    """-> (status, the object), with exactly the fields of the contract"""
    status, text = service.get("/health")
    found = json.loads(text)
    assert found.keys() == FIELDS and found["metrics"].keys() == METRICS, text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["last_check"]), text
    parts = [found[part] for part in ("redis_consumer_healthy", "postgres_sync_healthy", "circuit_breaker_closed")]
    assert all(isinstance(part, bool) for part in (*parts, found["healthy"])), text
    assert found["healthy"] == all(parts) and status == (200 if found["healthy"] else 503), text
    assert found["metrics"]["circuit_breaker_state"] in ("Closed", "Open", "HalfOpen"), text
    assert found["circuit_breaker_closed"] == (found["metrics"]["circuit_breaker_state"] == "Closed"), text
    return status, found


def becomes(services, status, field=None, value=None):
    for service in services:
        def met(service=service):
            try:
                code, found = health(service)
            except OSError:   # it does not listen yet
                return False
            return code == status and (field is None or found[field] == value)
        until(met, f"/health of {service.label} is {status} with {field} {value}", alive=[service])


def sample(text, name):
    """The sum over all labels."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(name + r"[ {]", line))


def test_health_metrics_and_status_of_a_working_pipeline(pipeline, small):
    services = pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    becomes(services, 200)
    for service in services:
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 200
        assert service.status_of("/unheard-of") == 404
        assert health(service)[1]["metrics"]["total_events_processed"] > 0
        assert isinstance(json.loads(service.get("/status")[1]), dict)
        status, text = service.get("/metrics")
        assert status == 200
        for name in REQUIRED:
            assert re.search(f"^{name}[ {{]", text, re.MULTILINE), f"{service.name} has no {name}"
        linted = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout + linted.stderr
        assert sample(text, "circuit_breaker_state") == 0
    events = sum(len(oracle.compute(pipeline.entries).tables[name]) for name in oracle.EVENT_TABLES)
    assert sample(services[0].get("/metrics")[1], "events_processed_total") >= events
    pipeline.assert_exact()


def test_before_anything_happened(pipeline):
    services = pipeline.start(RUN_MIGRATIONS="false")
    for service in services:
        until(lambda s=service: s.status_of("/livez") == 200, "it listens", alive=[service])
        text = service.get("/metrics")[1]
        assert "\ncircuit_breaker_state 0\n" in text and "\nevents_failed_total 0\n" in text
        assert not re.search("^(verify_differences|outbox_oldest_seconds|conflicting_blocks) ", text, re.MULTILINE), "what nobody looked at is not 0"
    pipeline.migrate()
    for service in services:
        service.ready()
        linted = subprocess.run(["promtool", "check", "metrics"], input=service.get("/metrics")[1], capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout + linted.stderr


# A breaker that probes every half second: the tests need not wait a minute for it.
_QUICK = {"CIRCUIT_BREAKER_TIMEOUT_MS": 500, "PROCESSING_TIMEOUT_MS": 2000}


def test_postgres_goes_and_comes_back(make_pipeline, own_postgres, part):
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres, **_QUICK).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    becomes(services, 200)
    pipeline.feed(part[:len(part) // 2])
    own_postgres.stop()
    pipeline.feed(part[len(part) // 2:])
    becomes(services, 503, "postgres_sync_healthy", False)
    for service in services:
        assert health(service)[1]["redis_consumer_healthy"]
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 503
        assert service.status_of("/metrics") == 200 and service.status_of("/status") == 200
        text = service.get("/metrics")[1]
        assert all(line in text for line in ("\nservice_ready 0\n", '\nserver_up{server="redis"} 1\n', '\nserver_up{server="postgresql"} 0\n'))
    becomes(services[:1], 503, "circuit_breaker_closed", False)   # it has work: its failures open the breaker
    own_postgres.start()
    becomes(services, 200)
    for service in services:
        text = service.ready().get("/metrics")[1]
        assert all(line in text for line in ("\nservice_ready 1\n", '\nserver_up{server="redis"} 1\n', '\nserver_up{server="postgresql"} 1\n'))
    pipeline.drain().assert_exact()


def test_an_open_breaker_is_not_ready(make_pipeline, small):
    """Both servers answer, and nothing can be stored."""
    pipeline = make_pipeline(CIRCUIT_BREAKER_TIMEOUT_MS=3600000).listen_to(small)
    service = pipeline.start("ingest").ready()
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE deposited_events RENAME TO elsewhere")
    pipeline.feed(small)
    becomes([service], 503, "circuit_breaker_closed", False)
    found = health(service)[1]
    assert found["redis_consumer_healthy"] and found["postgres_sync_healthy"] and service.status_of("/readyz") == 503
    assert "\nservice_ready 0\n" in service.get("/metrics")[1]


def test_a_slow_redis_is_a_healthy_one(pipeline):
    """60 ms a round trip: looking at five streams takes long, and health does not wait for that."""
    pipeline.streams = [f"stream_{i}" for i in range(5)]
    proxy = Proxy(pipeline.redis_server.port, delay=0.06)
    service = pipeline.start("ingest", REDIS_URL=proxy.url(pipeline.redis_server.url(pipeline.redis_db))).ready()
    answers = []
    for _ in range(50):
        time.sleep(0.1)
        answers += [service.status_of("/health"), service.status_of("/readyz")]
    assert answers.count(200) > 0.9 * len(answers), answers
    until(lambda: sample(service.get("/metrics")[1], "stream_lag_known") == 5, "all streams are looked at", alive=[service])


def test_gauges_of_streams(pipeline):
    """A stream that is not there yet has no lag, and that is known; another group matters where it holds up our trimming."""
    pipeline.migrate()
    pipeline.redis().xgroup_create(pipeline.vault_updates, "another", mkstream=True)
    pipeline.redis().xgroup_create(pipeline.streams[0], "another", mkstream=True)
    cascade, ingest, trimming = pipeline.start("cascade").ready(), pipeline.start("ingest").ready(), pipeline.start("ingest", TRIM_INPUT="true").ready()

    def shows(service, stream, trimmed, foreign):
        lines = {f'stream_trimmed{{stream="{stream}"}} {trimmed}', f'stream_foreign_group{{stream="{stream}",group="{pipeline.group}"}} {foreign}'}
        until(lambda: lines <= set(service.get("/metrics")[1].splitlines()), f"{service.label} shows {lines}", alive=[service])
    shows(cascade, pipeline.vault_updates, 1, 1)
    shows(ingest, pipeline.streams[0], 0, 0)
    shows(trimming, pipeline.streams[0], 1, 1)
    not_there = {stream["stream"]: stream for stream in json.loads(ingest.get("/status")[1])["streams"]}[pipeline.term_updates]
    assert not not_there["exists"] and not_there["lag"] == 0 and not_there["lag_known"]


def test_a_lag_that_redis_does_not_know(pipeline):
    """XDEL of what the group has not read: the lag is counted, far enough to scale by."""
    pipeline.migrate()
    redis = pipeline.redis()
    redis.xgroup_create(pipeline.vault_updates, pipeline.group, id="0", mkstream=True)
    pipe = redis.pipeline()
    for _ in range(3001):
        pipe.xadd(pipeline.vault_updates, {"term_id": "0x" + "1" * 64})
    redis.xdel(pipeline.vault_updates, pipe.execute()[1500])
    service = pipeline.start("ingest").ready()   # nobody reads it

    def stream():
        return {stream["stream"]: stream for stream in json.loads(service.get("/status")[1])["streams"]}.get(pipeline.vault_updates)
    until(stream, "the stream is looked at", alive=[service])
    assert (stream()["lag_known"], stream()["lag"]) == (False, 3000)


def test_redis_goes_and_comes_back(make_pipeline, own_redis, part):
    own_redis.start()
    pipeline = make_pipeline(redis=own_redis, **_QUICK).listen_to(part)
    services = pipeline.start()
    becomes(services, 200)
    pipeline.feed(part[:len(part) // 2])
    own_redis.stop()
    becomes(services, 503, "redis_consumer_healthy", False)
    for service in services:
        assert health(service)[1]["postgres_sync_healthy"]
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 503
        assert service.status_of("/metrics") == 200 and service.status_of("/status") == 200
    own_redis.start()
    becomes(services, 200)
    pipeline.feed(part[len(part) // 2:])
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("name", SERVICES)
def test_other_methods_are_refused(pipeline, name):
    pipeline.migrate()
    service = pipeline.start(name).ready()
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}/health", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=30)
    assert refusal.value.code == 405
