"""What tells an operator of a mistake: names of variables near ours, streams that are not there, the line that says what runs; and that names others
gave command no terminal."""
import json
import re
import signal

import pytest

from programs import SERVICES
from test_config import start
from waiting import until


@pytest.mark.parametrize("name", SERVICES)
def test_names_near_ours(name):
    near = {"WORKER": "WORKERS", "REDIS_URI": "REDIS_URL", "Batch_Size": "BATCH_SIZE", "CLAIM_IDLE": "CLAIM_IDLE_MS", "BATCH_TIMEOUT": "BATCH_TIMEOUT_MS",
            "DATABASE_URL_FILES": "DATABASE_URL", "CONSUMER_GROUP_NAME": "CONSUMER_GROUP"}
    done = start(name, "check", **dict.fromkeys(near, "x"), REDIS_HOST="x", REDIS_PORT="6379", HTTP_PROXY="x", PGHOST="x", UNHEARD_OF="x",
                 HTTP_PORT_FORWARD="x", NETWORK_PORT="x", CONSUMER_GROUP_SUFFIX="x")
    assert dict(re.findall(r"variable=(\S+) near=(\S+)", done.stderr)) == {**near, "HTTP_PORT_FORWARD": "HTTP_PORT"}


def test_a_typo_in_the_streams(pipeline):
    done = pipeline.migrate().run("ingest", "check", REDIS_STREAMS=None, REDIS_STREAM="x")
    assert "variable=REDIS_STREAM near=REDIS_STREAMS" in done.stderr
    assert re.search("(?m)^warn +stream +rindexer_producer: not there", done.stdout), done.stdout
    done = pipeline.run("ingest", "verify", REDIS_STREAMS=None)
    assert "there is no stream rindexer_producer, or no group postgres-sync of it: nothing of it was judged" in done.stderr


def test_the_line_that_says_what_runs(make_pipeline):
    pipeline = make_pipeline(NETWORK="intuition-testnet")
    pipeline.streams = ["a", "b"]
    ingest = pipeline.migrate().start("ingest").ready()
    said = re.search("running .*", ingest.messages())[0]
    place = f"127.0.0.1:{pipeline.postgres_server.port}/{pipeline.database}"
    for word in ("streams=a,b", f"group={pipeline.group}", "network=intuition-testnet", f"database={place}", f"http=127.0.0.1:{ingest.port}"):
        assert word in said, said


ESCAPE = "\x1b[2Jgroup\x9b31m\u202e"


def test_names_of_others_command_no_terminal(pipeline, small):
    """A group, a dead letter's fields, a database's answer."""
    pipeline.migrate().listen_to(small)
    redis = pipeline.redis()
    ingest = pipeline.start("ingest", TRIM_INPUT="true").ready()
    redis.xgroup_create(pipeline.vault_updates, ESCAPE, mkstream=True)
    redis.xgroup_create(pipeline.streams[0], ESCAPE, mkstream=True)
    redis.xadd(pipeline.dead_letter_stream, {"stage": "ingest", "stream": ESCAPE, "id": ESCAPE, "group": pipeline.group, "error_class": ESCAPE,
                                             "error": ESCAPE + "x" * 100, "attempts": ESCAPE, "payload": ESCAPE})
    ingest.says("another consumer group")
    shown = {"log": ingest.messages(), "page": ingest.get("/status")[1]}
    for arguments in (("check",), ("check", "--json"), ("status",), ("status", "--json"), ("dlq", "list")):
        done = pipeline.run("ingest", *arguments)
        shown[" ".join(arguments)] = done.stdout + done.stderr
    for where, text in shown.items():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), f"{where}: {text!r}"
    assert "…" in shown["dlq list"], "a text that is cut says so"


def test_old_figures_are_shown_as_old(make_pipeline, own_redis, small):
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0).listen_to(small)
    ingest = pipeline.start("ingest").ready()
    pipeline.feed(small)
    until(pipeline.drained(["ingest"]), "all is stored", alive=[ingest])

    def status():
        return json.loads(ingest.get("/status")[1])
    until(lambda: status()["streams"] and not status()["streams_old"], "the streams are seen", alive=[ingest])
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: status()["streams_old"], "its figures are old", alive=[ingest])
        assert any("last seen" in problem["text"] for problem in status()["problems"])
        ingest.says("it did not answer in time")
        known = f'stream_lag_known{{stream="{pipeline.streams[0]}",group="{pipeline.group}"}} 0\n'
        until(lambda: known in ingest.get("/metrics")[1], "what the lag is nobody knows now", alive=[ingest])
        cascade = pipeline.start("cascade")
        with pipeline.connect() as connection:
            until(lambda: connection.execute("SELECT count(*) FROM pipeline_replica WHERE program = 'cascade'").fetchone()[0], "cascade has noted itself")
        until(lambda: any(stage["name"] == "cascade" and stage["replicas"] for stage in status()["stages"]), "what PostgreSQL says is new all the while",
              alive=[ingest])
        assert not status()["database_old"]
        cascade.may_end()
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    until(lambda: not status()["streams_old"], "they are new again", alive=[ingest])


def test_options_as_people_expect(pipeline):
    pipeline.migrate()
    for arguments in (("help",), ("verify", "--help"), ("-V",)):
        done = pipeline.run("ingest", *arguments, DATABASE_URL=None)
        assert done.returncode == 0 and done.stdout, arguments
    done = pipeline.run("ingest", "verify", "--sampel", DATABASE_URL=None)
    assert done.returncode == 2 and "--sampel" in done.stderr and "DATABASE_URL" not in done.stderr
    done = pipeline.run("cascade", "verify", "--sample=5", "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"program": "cascade", "differences": 0, "in_flight": 0}
    for arguments in (("--json", "migrate", "--status"), ("migrate", "--json", "--status"), ("dlq", "--json", "list")):
        assert isinstance(json.loads(pipeline.run("ingest", *arguments).stdout), list), arguments
    done = pipeline.run("ingest", "replay", "--from=1-1")
    assert done.returncode == 0, done.stderr
    done = pipeline.run("ingest", "reconcile", "--rpc=http://127.0.0.1:1", "--from-block=1", "--check")
    assert "set NETWORK" in done.stderr
    for arguments in (("reconcile", "--bogus"), ("replay", "--bogus"), ("migrate", "--bogus"), ("dlq", "bogus")):
        done = pipeline.run("ingest", *arguments, DATABASE_URL=None)
        assert done.returncode == 2 and "usage: ingest " + arguments[0] in done.stderr and "DATABASE_URL" not in done.stderr


def test_a_failure_is_json_too(pipeline):
    """Bad usage, bad configuration, a server that is away, a letter that is not there: the last line of stdout is an object with the reason."""
    commands = [("check",), ("verify",), ("status",), ("rebuild",), ("dlq", "list"), ("dlq", "show", "1-1"), ("dlq", "retry", "--all"), ("replay",),
                ("reconcile", "--rpc", "http://127.0.0.1:1")]
    cases = [(command, {"DATABASE_URL": None}) for command in commands]
    cases += [(command, {"REDIS_URL": "redis://127.0.0.1:1"}) for command in commands if command != ("check",)]
    cases += [(command, {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}) for command in commands if command[0] in ("verify", "replay", "reconcile")]
    cases += [(("unheard-of",), {}), (("dlq", "show", "1-1"), {})]
    for arguments, settings in cases:
        done = pipeline.run("ingest", *arguments, "--json", **settings)
        assert done.returncode and done.stdout, (arguments, settings, done.stderr)
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["done"] is False and told["error"], (arguments, settings)


def test_a_letter_by_the_id_that_the_page_shows(pipeline, small):
    pipeline.migrate().listen_to(small)
    ingest = pipeline.start("ingest").ready()
    bad = pipeline.redis().xadd(pipeline.streams[0], {"payload": "no JSON"})
    until(pipeline.dead_letters, "it is a dead letter", alive=[ingest])
    shown = json.loads(pipeline.run("ingest", "dlq", "show", bad, "--json").stdout)
    assert shown["id"] == bad and shown["attempts"] == 1
    assert pipeline.run("ingest", "dlq", "show", "1-1").returncode == 1
    # what changes something takes the letter's own id: one that is dropped already may be that of another letter's entry
    assert pipeline.run("ingest", "dlq", "drop", bad).returncode == 1 and pipeline.dead_letters()
    letter = shown["letter"]
    assert pipeline.run("ingest", "dlq", "drop", letter).returncode == 0 and not pipeline.dead_letters()
    pipeline.redis().xadd(pipeline.dead_letter_stream, {"stage": "ingest", "group": pipeline.group, "stream": "", "id": letter, "error_class": "json", "payload": "{}"})
    assert pipeline.run("ingest", "dlq", "drop", letter).returncode == 1
    done = pipeline.run("ingest", "dlq", "retry", "--all", "--json")
    assert done.returncode == 1 and "does not say of which stream and entry" in done.stdout and len(pipeline.dead_letters()) == 1


def test_a_key_of_another_type_is_named(pipeline, small):
    pipeline.migrate().listen_to(small).redis().set(pipeline.dead_letter_stream, "x")
    done = pipeline.run("ingest", "dlq", "list", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["done"] is False and f"({pipeline.dead_letter_stream})" in done.stderr, done
    pipeline.redis().set(pipeline.vault_updates, "x")
    assert f"({pipeline.vault_updates})" in pipeline.run("ingest", "status").stderr
