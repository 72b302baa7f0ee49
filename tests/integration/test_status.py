"""`status`: what the status page shows, in a terminal of any size: once, as JSON, and watched through a feed, a reorg, a dead letter and outages."""
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

import feeds
import oracle
from programs import SERVICES, clean_environment, executable
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
    assert text.returncode == 0 and text.stderr == "" and text.stdout.splitlines()[1] == "working"
    for stream in reads:
        assert re.search(rf"^{name} +{stream} +0 +0 +0\.0/s +0 s +0 s +\d+", text.stdout, re.MULTILINE), text.stdout
    done = pipeline.run(name, "status", "--json")
    document = json.loads(done.stdout)
    streams = {stream["stream"]: stream for stream in document["streams"]}
    assert done.returncode == 0 and all(streams[stream]["lag"] == 0 and streams[stream]["entries_per_second"] == 0 for stream in reads)
    assert document["servers"] == {"redis": {"up": True}, "postgresql": {"up": True}} and document["dead_letters"] == {"count": 0, "groups": []}
    database = document["database"]
    assert database["replicas"] == dict.fromkeys(SERVICES, 1), "who only looks is no replica"
    assert [(of["name"], of["replicas"], of["ready"], of["breaker"], of["failed"]) for of in document["stages"]] == \
        [(one, 1, 1, "Closed", 0) for one in SERVICES] and document["problems"] == [] and document["state"] == "working"
    assert {stream["stage"] for stream in document["streams"] if stream["stream"] in reads} == {name}
    with pipeline.connect() as connection:
        number = connection.execute("SELECT max(block_number) FROM share_price_changed_events").fetchone()[0]
    assert database["last_block"]["number"] == number
    assert {table for _, tables in database["levels"] for table in tables} == set(database["tables"])
    assert set(database["tables"]) >= set(oracle.TABLES) and [v["program"] for v in database["verify"]] == ["analytics"]


def on_terminal(pipeline, *arguments, columns=80, lines=24):
    """-> (exit code, lines) of a command whose stdout is a terminal of this size"""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    with subprocess.Popen([executable(arguments[0]), *arguments[1:]], env=clean_environment(pipeline.environment()), stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 65536):
                written += part
        except OSError:   # the end, as a terminal says it
            pass
        os.close(ours)
        return process.wait(), written.decode().split("\r\n")[:-1]


def test_it_fits_a_terminal(pipeline, recording):
    """80 columns and 24 lines hold what matters, however many streams and dead letters there are; a larger one shows more."""
    more = [f"another_stream_with_a_rather_long_name_{i:02}_of_thirty" for i in range(30)]
    pipeline.streams = [*feeds.streams_of(recording), *more]
    services = [service.ready() for service in pipeline.start()]
    pipeline.redis().xadd(more[3], {"payload": "x"})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "the broken message is dead", alive=services)
    until(lambda: json.loads(services[0].get("/status")[1])["stages"], "the replicas are known", alive=services)
    pipeline.stop(services[0])   # its entries wait from now on
    waits = pipeline.redis().xadd(more[4], {"payload": "x"})
    code, lines = on_terminal(pipeline, "cascade", "status")
    assert code in (0, 1) and len(lines) < 24 and max(map(len, lines)) <= 80, "\n".join(lines)
    shown = "\n".join(lines)
    for words in (r"^20\d\d-\S+Z  cascade ", r"^(working, but|not working)$", r"^  1 dead letter \(runbook PipelineDeadLetters\)$", r"^stage +ready +breaker +rate",
                  r"^analytics +1 of 1 ", r"^ingest    another_stre\.\.04_of_thirty +1 ", r"^and \d+ streams in which nothing waits$",
                  r"^dead letters 1  ingest, class json; ingest dlq show \d+-\d+"):
        assert re.search(words, shown, re.MULTILINE), f"{words} in\n{shown}"
    code, lines = on_terminal(pipeline, "cascade", "status", columns=160, lines=60)
    assert len(lines) < 60 and more[4] in "\n".join(lines) and any(line.startswith("rows, about") for line in lines), waits


def test_the_exit_code_says_whether_it_works(pipeline, small):
    services = [pipeline.listen_to(small).start(name).ready() for name in ("ingest", "cascade")]
    done = pipeline.run("ingest", "status")
    assert done.returncode == 1 and "\nnot working\n  analytics: no replica runs (runbook PipelineTargetDown)\n" in done.stdout, done.stdout
    assert pipeline.run("ingest", "status", "--json").returncode == 1
    services.append(pipeline.start("analytics").ready())
    until(lambda: pipeline.run("cascade", "status").returncode == 0, "it works", alive=services)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": "x"})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "the broken message is dead", alive=services)
    done = pipeline.run("ingest", "status")
    assert done.returncode == 0 and "\nworking, but\n  1 dead letter (runbook PipelineDeadLetters)\n" in done.stdout
    for name, group, breaker in (("ingest", pipeline.group, "Closed"), ("cascade", pipeline.group, "not known"), ("ingest", "another", "not running")):
        said = pipeline.run(name, "status", HTTP_PORT=services[0].port, CONSUMER_GROUP=group).stdout.split("\n")[0]
        assert f", circuit breaker {breaker}, group {group}" in said, said   # ingest answers at this port, for its own group
    assert "exit code 0 where it works, 1 where it does not" in " ".join(pipeline.run("ingest", "--help").stdout.split())


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
    assert done.returncode == 1 and "PostgreSQL away: " in done.stdout and pipeline.vault_updates in done.stdout
    assert "refused" in json.loads(pipeline.run(name, "status", "--json", DATABASE_URL=away).stdout)["servers"]["postgresql"]["error"]
    done = pipeline.run(name, "status", REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == 1 and done.stdout == "" and "REDIS_URL" in done.stderr


def test_watch(make_pipeline, own_redis, own_postgres, reorg):
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, CIRCUIT_BREAKER_TIMEOUT_MS=1000).listen_to(reorg)
    services = [service.ready() for service in pipeline.start()]
    watching = pipeline.watch("cascade", HTTP_PORT=services[SERVICES.index("cascade")].port)
    shows(watching, "circuit breaker Closed, group ", "dead letters 0$", "^working$", *(rf"^{name} +1 of 1 Closed +0\.0/s " for name in SERVICES), "^verify  never run",
          *(f"^ingest +{stream} " for stream in pipeline.streams), f"^cascade +{pipeline.vault_updates} ", f"^analytics +{pipeline.term_updates} ",
          services=services)
    pipeline.feed(reorg)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": '{"event_name":"\x1b[2Jx"'})
    until(pipeline.drained(), "all is drained", alive=services)
    assert pipeline.run("analytics", "verify").returncode == 0
    picture = shows(watching, "dead letters 1$", "^working, but$", r"^dead letters 1  ingest, class json; ingest dlq show \d+-\d+  ", r"^reorg  .*fork block \d+, depth \d+",
                    r"^verify analytics +20\S+  0 differences, 0 keys in flight left out, all keys", r"^rows, about .* deposited_events [1-9]", services=services)
    assert "\x1b" not in picture, "what others wrote commands no terminal"
    for server, name in ((own_postgres, "PostgreSQL"), (own_redis, "Redis")):
        server.kill()
        shows(watching, f"^  {name} away: ", services=services)
        server.start()
        shows(watching, r"^working, but\n  1 dead letter ", services=services)   # nothing is away
