"""What comes from outside makes no sense: replies of Redis and PostgreSQL, answers of a node, requests over HTTP, settings. No program crashes, and with
sense again all is exact. NONSENSE_ROUNDS says how much (default 8)."""
import json
import os
import random
import socket

import pytest

import feeds
from node import Chain
from programs import SERVICES
from proxy import Proxy
from waiting import until

ROUNDS = int(os.environ.get("NONSENSE_ROUNDS") or 8)
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
