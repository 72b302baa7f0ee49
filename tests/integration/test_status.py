"""`status`: what the status page shows, in a terminal: once, as JSON, and watched through a feed, a reorg, a dead letter and outages."""
import json
import re

import pytest

import feeds
import oracle
from programs import SERVICES
from waiting import until


@pytest.fixture(scope="module")
def reorg():
    return feeds.load("reorg.jsonl.xz")


def shows(watching, *words, services=()):
    """Waits until the latest picture has all these words (regular expressions)."""
    def picture():
        return re.split(r"(?m)^(?=20\d\d-[-:T0-9]+Z  )", watching.out.read_text())[-1]

    def met():
        return picture().endswith("\n") and all(re.search(word, picture(), re.MULTILINE) for word in words)
    met.why = lambda: f"it shows\n{picture()}"
    until(met, f"status --watch shows {words}", alive=[watching, *services])
    return picture()


@pytest.mark.parametrize("name", SERVICES)
def test_status(pipeline, small, name):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    assert pipeline.run("analytics", "verify").returncode == 0
    reads = {"ingest": pipeline.streams, "cascade": [pipeline.vault_updates], "analytics": [pipeline.term_updates]}[name]
    text = pipeline.run(name, "status")
    assert text.returncode == 0 and text.stderr == ""
    for stream in reads:
        assert re.search(rf"^{name} +{stream} +\d+ +0 +0 +0\.0 s", text.stdout, re.MULTILINE), text.stdout
    done = pipeline.run(name, "status", "--json")
    document = json.loads(done.stdout)
    streams = {stream["stream"]: stream for stream in document["streams"]}
    assert done.returncode == 0 and all(streams[stream]["lag"] == 0 and streams[stream]["entries_per_second"] == 0 for stream in reads)
    assert document["servers"] == {"redis": {"up": True}, "postgresql": {"up": True}} and document["letters"] == []
    database = document["database"]
    assert database["replicas"] == dict.fromkeys(SERVICES, 1), "who only looks is no replica"
    assert {one: (of["replicas"], of["ready"], of["breaker"], of["failed"]) for one, of in database["programs"].items()} == \
        dict.fromkeys(SERVICES, (1, 1, "Closed", 0)) and document["problems"] == []
    assert set(database["tables"]) >= set(oracle.TABLES) and [v["program"] for v in database["verify"]] == ["analytics"]


def test_rows_after_a_crash_of_postgres(make_pipeline, own_postgres, small):
    """PostgreSQL's statistics are gone then."""
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres).listen_to(small)
    pipeline.start("ingest")
    pipeline.feed(small)
    until(pipeline.drained(["ingest"]), "all is stored", alive=pipeline.alive())
    with pipeline.connect() as connection:
        connection.execute("ANALYZE")
        rows = connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0]
    pipeline.stop()
    own_postgres.kill(), own_postgres.start()
    assert json.loads(pipeline.run("ingest", "status", "--json").stdout)["database"]["tables"]["deposited_events"] == rows > 0


def test_status_without_servers(pipeline, name="cascade"):
    away = "postgresql://nobody@127.0.0.1:1/x"
    done = pipeline.run(name, "status", DATABASE_URL=away)
    assert done.returncode == 0 and "PostgreSQL away: " in done.stdout and pipeline.vault_updates in done.stdout
    assert "refused" in json.loads(pipeline.run(name, "status", "--json", DATABASE_URL=away).stdout)["servers"]["postgresql"]["error"]
    done = pipeline.run(name, "status", REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == 1 and done.stdout == "" and "REDIS_URL" in done.stderr


def test_watch(make_pipeline, own_redis, own_postgres, reorg):
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, CIRCUIT_BREAKER_TIMEOUT_MS=1000).listen_to(reorg)
    services = [service.ready() for service in pipeline.start()]
    watching = pipeline.watch("cascade", HTTP_PORT=services[SERVICES.index("cascade")].port)
    shows(watching, "circuit breaker Closed, dead letters 0", "^working$", *(rf"^{name} +Closed +1 +1 +0\.0 " for name in SERVICES), "^reorgs  none", "^verify  never run",
          *(f"^ingest +{stream} " for stream in pipeline.streams), f"^cascade +{pipeline.vault_updates} ", f"^analytics +{pipeline.term_updates} ",
          services=services)
    pipeline.feed(reorg)
    broken = pipeline.redis().xadd(pipeline.streams[0], {"payload": '{"event_name":"\x1b[2Jx"'})
    until(pipeline.drained(), "all is drained", alive=services)
    assert pipeline.run("analytics", "verify").returncode == 0
    picture = shows(watching, "dead letters 1", rf"^  ingest +{pipeline.streams[0]} {broken}  json: ", r"fork block \d+, depth \d+",
                    r"^  analytics +20\S+  0 differences, 0 keys in flight left out, all keys", r"^rows, about .* deposited_events [1-9]", services=services)
    assert "\x1b" not in picture, "what others wrote commands no terminal"
    for server, name in ((own_postgres, "PostgreSQL"), (own_redis, "Redis")):
        server.kill()
        shows(watching, f"^{name} away: ", services=services)
        server.start()
        shows(watching, r"^[^\n]*\nworking\n\nstage ", services=services)   # nothing is away
