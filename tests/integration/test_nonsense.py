"""What comes from outside makes no sense: replies of Redis and PostgreSQL, answers of a node, requests over HTTP, settings, ids, parameters. No program crashes, and with
sense again all is exact. NONSENSE_ROUNDS says how much (default 5)."""
import json
import os
import random
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.pq import DiagnosticField

import feeds
import oracle
from node import Chain
from programs import SERVICES
from proxy import Proxy
from waiting import until

ROUNDS = int(os.environ.get("NONSENSE_ROUNDS") or 5)
BLOB = bytes(range(256))
REPLIES = (b"+OK\r\n", b"-ERR nonsense\r\n", b"-NOGROUP nonsense\r\n", b"-MOVED 1 127.0.0.1:1\r\n", b"-MOVED x\r\n", b"-READONLY\r\n", b":-1\r\n", b":9223372036854775808\r\n",
           b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"*1\r\n*0\r\n", b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n9-9\r\n*-1\r\n", b"*2\r\n$3\r\n0-0\r\n*1\r\n:7\r\n",
           b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$1\r\nx\r\n*1\r\n$1\r\na\r\n", b"*3\r\n$2\r\n\x00\x1b\r\n*1\r\n*1\r\n:1\r\n_\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", BLOB)
MESSAGES = (BLOB, b"E\x00\x00\x00\x04", b"S\x00\x00\x00\x05x")
if ROUNDS > 20:   # each makes a program wait for more, until its time limit
    REPLIES += (b"$999999999\r\nshort", b"*2147483647\r\n", b"")
    MESSAGES += (b"Z\x7f\xff\xff\xff", b"S", b"")


@pytest.fixture
def random_source(seed):
    return random.Random(seed)


@pytest.fixture
def proxies(redis_server, postgres_server):
    both = {"redis": Proxy(redis_server.port), "postgres": Proxy(postgres_server.port)}
    yield both
    for proxy in both.values():
        proxy.close()


def some_bytes_else(choice, data):
    changed = bytearray(data)
    for _ in range(choice.randint(1, 8)):
        changed[choice.randrange(len(changed))] = choice.randrange(256)
    return bytes(changed)


# Not a changed byte of a good reply of Redis: that may be another entry's content, which nobody could tell.
GARBLE = {"redis": REPLIES, "postgres": MESSAGES}


@pytest.mark.parametrize("server", GARBLE)
@pytest.mark.parametrize("name", SERVICES)
def test_replies(make_pipeline, proxies, random_source, recording, name, server):
    messages = feeds.new_ids(recording)
    pipeline = make_pipeline(WORKERS=2, CLAIM_IDLE_MS=300, BACKFILL_INTERVAL_MS=1000, CIRCUIT_BREAKER_TIMEOUT_MS=100).migrate().listen_to(messages)
    pipeline.start(*(other for other in SERVICES if other != name))
    plain = pipeline.environment()
    victim = pipeline.start(name, REDIS_URL=proxies["redis"].url(plain["REDIS_URL"]), DATABASE_URL=proxies["postgres"].url(plain["DATABASE_URL"])).ready()
    proxy = proxies[server]
    for number in range(min(ROUNDS, len(messages) // 10)):
        left = [random_source.randint(0, 40), random_source.randint(1, 3)]   # replies that pass, and that make no sense

        def garble(data):
            left[0] -= 1
            if left[0] >= 0 or left[1] <= 0:
                return data
            left[1] -= 1
            return random_source.choice(GARBLE[server])
        proxy.garble = garble
        pipeline.feed(messages[10 * number:10 * number + 10])
        until(lambda: left[1] <= 0, "the nonsense has passed", alive=pipeline.alive())
    proxy.garble = None
    pipeline.drain().assert_exact()
    victim.ask_to_stop()
    victim.may_end()
    assert victim.wait() in (0, 1), victim.tail()   # 1: a reply that never came took SHUTDOWN_TIMEOUT_MS
    pipeline.start(name)
    pipeline.drain().assert_verified()


def values(tree, path=()):
    """All places in a JSON value."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from values(value, (*path, key))


def changed(choice, tree):
    """A JSON value with another one somewhere in it."""
    other = choice.choice((None, True, -1, 1e308, "", "0x", "0x" + "f" * 65, "0x" + "f" * 200, "\u0000\u001b", [], {}, [[]], {"hash": []}, "x" * 5000, 2**63))
    path = choice.choice(list(values(tree)))
    if not path:
        return other
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = other
    return tree


def test_answers_of_a_node(make_pipeline, make_node, random_source, small):
    node = make_node(Chain.of(small))
    pipeline = make_pipeline(NETWORK="intuition-testnet").migrate().listen_to(small)
    services = pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    pipeline.stop(*services)

    def mood(method, params, answer):
        if random_source.random() < 0.5:
            return None
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "result": answer()})
        garbled = json.dumps(changed(random_source, json.loads(text))) if random_source.random() < 0.7 else text
        if random_source.random() < 0.3:
            return 200, some_bytes_else(random_source, garbled.encode())
        return random_source.choice((200, 200, 200, 429, 500)), garbled.encode()
    node.mood = mood
    for _ in range(ROUNDS):
        done = pipeline.run("ingest", "reconcile", "--check", RPC_URL=node.url)
        assert done.returncode in (0, 1, 2, 3), done.stderr
    node.mood = None
    assert pipeline.run("ingest", "reconcile", RPC_URL=node.url).returncode == 0
    services = pipeline.start()
    pipeline.drain().assert_exact()


REQUESTS = (b"", b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET /%00%1b%ff?x=%zz HTTP/1.1\r\nHost: \x00\r\n\r\n",
            b"POST /status HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx",
            b"PUT /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"HEAD /../../etc/passwd HTTP/1.0\r\n\r\n", b"\x16\x03\x01" + BLOB, BLOB * 40,
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")


def test_requests_over_http(pipeline, random_source):
    service = pipeline.migrate().start("cascade").ready()
    for _ in range(5 * ROUNDS):
        request = random_source.choice(REQUESTS)
        if request and random_source.random() < 0.5:
            request = some_bytes_else(random_source, request)
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            try:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(0.2)
                client.recv(65536)
            except OSError:
                pass   # it may refuse as it likes
    assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 200


SETTINGS = ("DATABASE_URL", "REDIS_URL", "REDIS_STREAMS", "CONSUMER_GROUP", "CONSUMER_NAME", "BATCH_SIZE", "WORKERS", "HTTP_PORT", "HTTP_BIND", "LOG_LEVEL", "LOG_FORMAT",
            "RPC_URL", "NETWORK", "TRIM_INPUT", "DLQ_STREAM_NAME", "PROCESSING_TIMEOUT_MS", "RATE_LIMIT", "DATABASE_URL_FILE")
VALUES = ("", " ", "0", "-1", "9" * 40, "1e3", "0x10", ",", "a,,b", "a,a", "\x01\x1b[31m", "\u202e", "%", "%zz", "%00", "redis://", "redis://:@", "redis://[::1", "redis://h:99999/1",
          "redis+sentinel://a,b/", "rediss://x?y", "postgresql://", "postgresql://u:p@[::1:5/db", "host=", "host='", "password='\\", "dbname=\\", "https://", "http://a b", "ftp://x",
          "true", "TRUE", "maybe", "/", "/dev/null", "/nonexistent", "x" * 5000, "é" * 300, "'; DROP TABLE atom; --", "$1", "{tag}a,{tag}b", "127.0.0.1:1", "::", "*")


@pytest.mark.parametrize("name", SERVICES)
def test_settings(pipeline, random_source, name):
    """--help and check with settings of any kind: refused with a reason, or taken; nothing else."""
    for _ in range(2 * ROUNDS):
        some = {setting: random_source.choice(VALUES) for setting in random_source.sample(SETTINGS, random_source.randint(1, 4))}
        shown = pipeline.run(name, "--help", **some)
        assert shown.returncode == 0, shown.stderr
        some["REDIS_URL"] = random_source.choice((some.get("REDIS_URL") or "redis://127.0.0.1:1", "redis://127.0.0.1:1"))
        done = pipeline.run(name, "status", **some)
        assert done.returncode in (0, 1, 2, 3) and (done.stdout or done.stderr), f"{some}: {done.returncode}"


EDGES = (1, 2**31, 2**32, 2**53, 10**12, 10**13, 2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1)
NO_IDS = ("", "-", "+", "*", "$", "0", "1-", "-1", "1-1-1", "1-x", " 1-1", "1 -1", "0x1-1", "\x1b[31m", "18446744073709551616-0", "1-18446744073709551616", "9" * 400, "%s%n")


def some_ids(choice, count):
    """So many ids, rising, near the edges of what a clock says and a column holds; the last one is the last that there can be."""
    def near():
        return max(0, min(2**64 - 1, choice.choice(EDGES) + choice.randint(-2, 2)))
    first, last, ids = (0, 0), (2**64 - 1, 2**64 - 1), set()
    while len(ids) < count - 1:
        ids.add((near(), choice.choice((0, near()))))
        ids -= {first, last}
    return [f"{ms}-{seq}" for ms, seq in [*sorted(ids), last]]


def test_ids_of_entries(make_pipeline, random_source, recording):
    """Entries of any id: stored where a BIGINT holds it, else a dead letter; and each command takes what is no id for what it is."""
    for _ in range(max(1, ROUNDS // 8)):
        messages = feeds.single_stream(recording[:60])
        messages = [replace(message, id=id_) for message, id_ in zip(messages, some_ids(random_source, len(messages)))]
        good = [all(int(part) < 2**63 for part in message.id.split("-")) for message in messages]
        pipeline = make_pipeline(WORKERS=2, CLAIM_IDLE_MS=300).migrate().listen_to(messages)
        services = pipeline.start()
        written = feeds.write(pipeline.redis(), messages)
        pipeline.entries = [entry for entry, is_good in zip(written, good) if is_good]
        until(pipeline.drained(), "all is drained", alive=pipeline.alive())
        differences = pipeline.differences()
        assert not differences, oracle.report(differences)
        assert sorted(letter["id"] for letter in pipeline.dead_letters()) == sorted(id_ for (_, id_, _), is_good in zip(written, good) if not is_good)
        pipeline.assert_verified()
        pipeline.stop(*services)
        for arguments in (("ingest", "dlq", "show"), ("ingest", "dlq", "retry"), ("ingest", "dlq", "drop"), ("ingest", "replay", "--from")):
            text = random_source.choice([text for text in NO_IDS if text != "0" or arguments[1] == "dlq"])   # replay takes a time
            done = pipeline.run(*arguments, text)
            assert done.returncode == 2 and done.stderr and "\x1b" not in done.stderr, f"{arguments} {text!r}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert pipeline.run("ingest", "replay").returncode == 0
        for name in SERVICES:
            assert pipeline.run(name, "check").returncode == 0 and pipeline.run(name, "status", "--json").stdout
        pipeline.assert_verified()


ROOT = Path(__file__).resolve().parents[2]
STATEMENTS = [path for folder in ("ingest", "cascade", "analytics", "common", "migrations") for path in sorted((ROOT / folder / "sql").glob("*.sql"))
              if path.stem != "10_audit_begin" and re.search(r"\$\d", path.read_text())]
# Whose text parameters are names of tables, which only our programs choose.
NAMED = ("10_audit_find", "10_audit_mend", "10_audit_verify", "10_event_repeat", "10_event_take", "16_chain_compare", "16_chain_mend", "16_chain_settle",
         "20_rebuild_find", "20_rebuild_make", "42_pair_rebuild", "60_verify_table")
TABLES = ("deposited_events", "generic_events", "atom", "position", "predicate_object", "predicate_id", "object_id")
TEXTS = ("", "0", "x", "\\", "'", "{", "$1", "%s", "\x01\x1b", "é" * 300, "vault", "0x" + "f" * 64, "9" * 400, "NaN", "1e400", "Infinity")
TYPED = {"boolean": ("t", "f"), "smallint": ("0", "-32768", "32767"), "integer": ("0", "-1", str(2**31 - 1)), "bigint": ("0", "-1", "7", str(2**63 - 1), str(-2**63)),
         "text": TEXTS, "bytea": ("\\x", "\\x00ff"), "timestamp with time zone": ("infinity", "-infinity", "294276-12-31", "4714-11-24 BC", "2026-01-01"),
         "jsonb": ("null", "[]", "{}", "1e400", '{"program": 1}', '{"fork_block": "x", "network": [], "depth": -1}', '{"fork_block": 0, "network": "n"}')}


def some_parameter(choice, type_name, size, is_named):
    """Bytes for a parameter of this type, `size` values where it is an array: mostly such that the type takes them."""
    def one(name):
        return choice.choice(TABLES if is_named and name == "text" and choice.random() < 0.8 else TYPED[name] if choice.random() < 0.97 else TEXTS)

    def quoted(value):
        return "NULL" if choice.random() < 0.03 else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    element = type_name.removesuffix("[]")
    value = one(element) if element == type_name else "{" + ",".join(quoted(one(element)) for _ in range(size)) + "}"
    data = value.encode()
    return None if choice.random() < 0.03 else some_bytes_else(choice, data).replace(b"\0", b"0") if data and choice.random() < 0.03 else data


def test_parameters_of_bytes(make_pipeline, random_source, small):
    """Any bytes as parameters of any statement: it is done, or refused for the data (RO001: asked of the careful way), or autovacuum is at a table
    (55P03); nothing internal, nothing that takes long."""
    pipeline = make_pipeline().migrate().listen_to(small)
    services = pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    pipeline.stop(*services)
    idle, found = [], set()
    with pipeline.connect() as connection:
        connection.autocommit = True
        connection.execute("SET statement_timeout = '30s'")
        server = connection.pgconn
        for path in STATEMENTS:
            server.exec_(b"BEGIN; SELECT audit_begin(1); PREPARE it AS " + path.read_bytes())
            types = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'it'").fetchone()[0]
            done = 0
            for _ in range(10 * ROUNDS):
                size = random_source.randint(0, 3)
                server.exec_(b"SAVEPOINT before")
                answer = server.exec_prepared(b"it", [some_parameter(random_source, name, size, path.stem in NAMED) for name in types])
                state = (answer.error_field(DiagnosticField.SQLSTATE) or b"").decode()
                done += not state
                if state and state not in ("55P03",) and state[:2] not in ("21", "22", "23", "RO") and not (state[:2] in ("3F", "42") and path.stem in NAMED):
                    found.add(f"{path.stem}: {answer.error_message.decode()}")
                server.exec_(b"ROLLBACK TO before")
            idle += [path.stem] if not done else []
            server.exec_(b"ROLLBACK; DEALLOCATE it")
    assert not found, "\n".join(sorted(found))
    assert len(idle) < len(STATEMENTS) / 5, f"never done, whatever the parameters: {idle}"
