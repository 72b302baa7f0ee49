"""What surrounds the programs does not work as it should: servers that answer and take no writes, batches that alone meet a full disk, a log that nobody
reads, output that goes nowhere, a node that is none. Each is said, once; it goes on by itself; and every row is exact afterwards."""
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import urllib.request

import pytest
import redis

from node import Chain
from ports import free_port
from programs import clean_environment, executable
from servers import die_with_parent
from test_http import becomes, sample
from waiting import PATIENCE, until

QUICK = {"CIRCUIT_BREAKER_TIMEOUT_MS": 500, "CIRCUIT_BREAKER_THRESHOLD": 3}


def shown(service):
    """The page's problems, as one text."""
    return "\n".join(problem["text"] for problem in json.loads(service.get("/status")[1])["problems"])


# ---- a server that answers, and takes no writes

@contextlib.contextmanager
def redis_cannot_save(redis_server, postgres_server):
    client, dump = redis_server.client(), redis_server.folder / "dump.rdb"
    dump.mkdir()   # in the place of the file
    client.config_set("save", "3600 1")
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving has failed")
    yield "MISCONF"
    dump.rmdir()
    client.config_set("save", "")


@contextlib.contextmanager
def redis_lacks_replicas(redis_server, postgres_server):
    redis_server.client().config_set("min-replicas-to-write", 1)
    yield "NOREPLICAS"
    redis_server.client().config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def postgres_is_read_only(redis_server, postgres_server):
    def switch(state):
        with postgres_server.connect() as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
            connection.execute("SELECT pg_reload_conf()")
    switch("on")
    yield "default_transaction_read_only"
    with postgres_server.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("fault", [redis_cannot_save, redis_lacks_replicas, postgres_is_read_only])
def test_a_server_that_takes_no_writes(make_pipeline, own_redis, own_postgres, small, fault):
    """An idle program sees it, too, and one that starts; nobody says it over and over."""
    pipeline = make_pipeline(redis=own_redis.start(), postgres=own_postgres.start(), redis_db=0, **QUICK).listen_to(small)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(small[:20])
    pipeline.drain()
    with fault(own_redis, own_postgres) as why:
        becomes(services, 503)
        rest = small[20:]
        try:
            pipeline.feed(rest)
            rest = []
        except redis.ResponseError as refusal:   # the producer is refused as well
            assert why in str(refusal)
        for service in services:
            until(lambda service=service: re.search(f"away: .*{why}", shown(service)), f"the page of {service.label} says why", alive=services)
            service.says(f"a server is away, or takes no writes.*{why}")
        done = pipeline.run("ingest", "check")
        assert done.returncode == 1 and why in done.stdout
        late = pipeline.start("cascade")
        late.says(f"waiting .*{why}")
        tries = re.findall(".*tried again.*", services[0].messages())
        assert len(tries) <= 3 and not any("EXECABORT" in line for line in tries), tries
    pipeline.feed(rest)
    becomes([*services, late], 200)
    for service in services:
        service.says("the server is back")
    pipeline.drain().assert_exact()


def test_why_a_transaction_of_redis_was_refused(pipeline, small):
    """What EXEC answers with an error inside, and what came before EXECABORT: not that there was an error."""
    pipeline.migrate().listen_to(small)
    service = pipeline.start("ingest", **QUICK).ready()
    pipeline.redis().set(pipeline.vault_updates, "something else")
    pipeline.feed(small[:20])
    service.says("not acked; it is tried again.*WRONGTYPE")


# ---- what only batches meet

def test_a_full_disk(make_pipeline, small):
    """The breaker's probe finds nothing wrong. The page says why the batches fail, the log once."""
    pipeline = make_pipeline(**QUICK).migrate().listen_to(small)
    with pipeline.connect() as connection:
        connection.execute("""CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'could not extend file "%"', random() USING ERRCODE = '53100'; END $$""")
        connection.execute("CREATE TRIGGER disk_full BEFORE INSERT ON deposited_events EXECUTE FUNCTION disk_full()")
        services = [service.ready() for service in pipeline.start()]
        pipeline.feed(small)
        until(lambda: "batches fail: could not extend file" in shown(services[0]), "the page says why", alive=services)
        until(lambda: services[0].messages().count("circuit breaker closed") > 2, "it is tried over and over", alive=services)
        said = services[0].messages().count("SQLSTATE 53100")
        tries = sample(services[0].get("/metrics")[1], "batch_retries_total")
        assert said < tries / 3, (said, tries)
        connection.execute("DROP TRIGGER disk_full ON deposited_events")
    pipeline.drain().assert_exact()
    until(lambda: "batches fail" not in shown(services[0]), "the page says no more of it", alive=services)


# ---- standard streams

def run(pipeline, *arguments, name="ingest", **how):
    return subprocess.run([executable(name), *arguments], env=clean_environment(pipeline.environment({})), stdin=subprocess.DEVNULL, text=True,
                          timeout=PATIENCE, stderr=subprocess.PIPE, **how)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("status",), ("status", "--json"), ("status", "--watch"), ("check", "--json"),
                                       ("verify", "--json"), ("unheard-of", "--json")])
def test_output_that_goes_nowhere(pipeline, arguments):
    """It is not taken for done: on a full disk, or where the standard output is closed."""
    pipeline.migrate()
    with open("/dev/full", "w") as full:
        done = run(pipeline, *arguments, stdout=full)
    assert done.returncode in (1, 2) and "cannot be written" in done.stderr, done
    done = run(pipeline, *arguments, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(1))
    assert done.returncode in (1, 2) and "cannot be written" in done.stderr, done


@contextlib.contextmanager
def started_with(pipeline, prepare, **how):
    """ingest without a log of ours"""
    of_parent = die_with_parent()

    def in_child():
        of_parent()
        prepare()
    environment = clean_environment(pipeline.environment({"LOG_LEVEL": "debug"}))
    process = subprocess.Popen([executable("ingest")], env=environment, preexec_fn=in_child, stdin=subprocess.DEVNULL, **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_closed_standard_streams(pipeline, small):
    """No server gets their numbers: what is logged would go there."""
    pipeline.migrate().listen_to(small)
    with started_with(pipeline, lambda: os.closerange(0, 3)) as process:
        pipeline.feed(small)
        until(pipeline.drained(["ingest"]), "all is stored")
        assert {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
        end(process)


def test_a_log_that_nobody_reads(pipeline, small):
    """Its pipe is full: work goes on, a stop is heeded, and what was lost is said once somebody reads again."""
    pipeline.migrate().listen_to(small)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    with started_with(pipeline, lambda: None, stderr=writer) as process, os.fdopen(reader, "rb", buffering=0) as log:
        os.close(writer)
        pipeline.feed(small)
        until(pipeline.drained(["ingest"]), "all is stored")
        text = b""
        while text.count(b".") < 65536:
            text += log.read(65536)
        end(process)
        text += log.read(1 << 20)
    assert re.search(rb"WARN +ingest: \d+ lines of the log are lost: nobody read them\n", text), text[65536:]
    assert b"stopped" in text


# ---- a low limit of open files

def test_few_open_files(pipeline, small):
    """The soft limit is raised as far as all that may be open needs: with more clients than are served, from several addresses, all is stored, and a
    probe is answered. A hard limit below that is refused."""
    pipeline.migrate().listen_to(small)
    port = free_port()
    pipeline.settings["HTTP_PORT"] = port
    with started_with(pipeline, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))) as process, contextlib.ExitStack() as stack:
        def connected(source="127.0.0.1"):
            with contextlib.suppress(ConnectionRefusedError):
                return stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(source, 0)))
        until(connected, "it listens")
        for i in range(160):
            connected(f"127.0.0.{2 + i % 5}")
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] >= 192 + 3 * 4 + 64
        pipeline.feed(small)
        until(pipeline.drained(["ingest"]), "all is stored")
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=PATIENCE).status == 200
        end(process)
    with started_with(pipeline, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128)), stderr=subprocess.PIPE, text=True) as process:
        text = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 1 and re.search(r"limit of open files is too low.*limit=128 needed=\d+", text), text


# ---- a node that is none

@pytest.mark.parametrize("answer, words", [
    ((401, b'{"error":"no such key"}'), r"no such key .HTTP 401"),
    ((307, b""), r"HTTP 307, a redirect"),
    ((403, b"<html>"), r"HTTP 403"),
])
def test_why_a_node_refuses(pipeline, small, make_node, answer, words):
    node = make_node(Chain.of(small))
    node.mood = lambda method, params, right: answer
    ingest = pipeline.migrate().listen_to(small).start("ingest", RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    ingest.says("reconciling with the chain waits.*no event is stored yet")
    pipeline.feed(small)
    ingest.says(f"reconciling with the chain waits.*{words}")


# ---- a group that is made anew

def test_a_group_made_anew_at_the_end_of_a_stream_with_deleted_entries(pipeline):
    """What it passed over is said, as where nothing was deleted; once a look has seen how far it had read before."""
    stream, client = pipeline.migrate().streams[0], pipeline.redis()
    service = pipeline.start("ingest").ready()

    def passed_over():
        client.xadd(stream, {"payload": "{}"})
        until(pipeline.drained(["ingest"]), "it is read", alive=[service])
        with client.pipeline(transaction=True) as change:
            change.xadd(stream, {"payload": "{}"})
            change.xgroup_destroy(stream, pipeline.group)
            change.xgroup_create(stream, pipeline.group, "$")
            change.execute()
        return "set by hand" in service.messages()
    first = client.xadd(stream, {"payload": "{}"})
    until(pipeline.drained(["ingest"]), "it is read", alive=[service])
    client.xdel(stream, first)
    until(passed_over, "it is said", alive=[service])
