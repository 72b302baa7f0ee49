"""Connecting: hosts that say nothing, servers far away, passwords that change, servers that close what is idle; and no secret in any of it."""
import json
import socket
import threading

import pytest
import redis

import node as nodes
from ports import free_port
from programs import SERVICES
from proxy import Proxy, Trap
from servers import RedisServer
from test_config import start
from test_http import becomes, sample
from waiting import until

FAST = {"CIRCUIT_BREAKER_TIMEOUT_MS": 500, "PROCESSING_TIMEOUT_MS": 2000}


class Dummy:
    """A host that takes connections and says nothing, or closes them at once."""

    def __init__(self, closes=False):
        self.listener, self.kept, self.closes = socket.create_server(("127.0.0.1", free_port())), [], closes
        self.port, self.calls = self.listener.getsockname()[1], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.calls += 1
            if self.closes:
                client.close()
            else:
                self.kept.append(client)

    def close(self):
        self.listener.close()
        for client in self.kept:
            client.close()


@pytest.fixture(params=["silent", "closing"])
def dummy(request):
    host = Dummy(closes=request.param == "closing")
    yield host
    host.close()


def hosts(pipeline, *ports, **parameters):
    more = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://postgres@{','.join(f'127.0.0.1:{port}' for port in ports)}/{pipeline.database}?{more}"


def test_the_first_host_is_left(pipeline, small, dummy):
    url = hosts(pipeline, dummy.port, pipeline.postgres_server.port, target_session_attrs="read-write", connect_timeout=2)
    services = [service.ready() for service in pipeline.listen_to(small).start(DATABASE_URL=url)]
    pipeline.feed(small)
    until(pipeline.drained(), "all is through", alive=services)
    pipeline.assert_exact()
    done = pipeline.run("ingest", "check", DATABASE_URL=url)
    assert "cannot connect" not in done.stdout and "reachable, database" in done.stdout
    done = pipeline.run("ingest", "check", DATABASE_URL=hosts(pipeline, dummy.port, connect_timeout=2))
    assert done.returncode == 1 and f"port {dummy.port} failed: " in done.stdout, "it says which host, and why"


def test_a_standby_comes_first_and_wants_no_writes(pipeline, small):
    """Without a word on connect_timeout; prefer-standby takes what is there."""
    with pipeline.connect() as connection:
        connection.execute(f"ALTER DATABASE \"{pipeline.database}\" SET default_transaction_read_only = off")
    port = pipeline.postgres_server.port
    pipeline.migrate().listen_to(small)
    pipeline.start("ingest", DATABASE_URL=hosts(pipeline, port, port, target_session_attrs="prefer-standby")).ready()
    done = pipeline.run("ingest", "check", DATABASE_URL=hosts(pipeline, port, port, target_session_attrs="standby"))
    assert done.returncode == 1 and "not in hot standby mode" in done.stdout


def test_a_host_falls_silent_under_load(make_pipeline, part):
    pipeline = make_pipeline(**FAST).listen_to(part)
    first = Proxy(pipeline.postgres_server.port)
    try:
        url = hosts(pipeline, first.port, pipeline.postgres_server.port, connect_timeout=2)
        services = [service.ready() for service in pipeline.start(DATABASE_URL=url)]
        pipeline.feed(part[:len(part) // 2])
        until(pipeline.drained(), "the first half is through", alive=services)
        first.set(Trap(request=b"."))
        pipeline.feed(part[len(part) // 2:])
        until(pipeline.drained(), "the other half is through", alive=services)
        becomes(services, 200)
        pipeline.assert_exact()
    finally:
        first.close()


def with_password(postgres, password="one word"):
    """A role that owns what it makes, and logs in with SCRAM."""
    postgres.start()
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{password}'")
    hba = postgres.data / "pg_hba.conf"
    hba.write_text("host all app 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n")
    with postgres.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    return postgres


def login(postgres, database, password, port=None):
    return f"postgresql://app:{password.replace(' ', '%20')}@127.0.0.1:{port or postgres.port}/{database}"


def test_a_far_postgresql_is_healthy(make_pipeline, own_postgres, small):
    """150 ms a round trip, and SCRAM takes several."""
    pipeline = make_pipeline(postgres=with_password(own_postgres)).listen_to(small)
    far = Proxy(own_postgres.port, delay=0.15)
    try:
        service = pipeline.migrate().start("ingest", DATABASE_URL=login(own_postgres, pipeline.database, "one word", far.port)).ready()
        becomes([service], 200)
        pipeline.feed(small)
        until(pipeline.drained(["ingest"]), "all is stored", alive=[service])
        becomes([service], 200)
    finally:
        far.close()


def test_a_rotated_password(make_pipeline, own_postgres, own_redis, small, tmp_path):
    """Both servers' passwords change and all connections end; then the files do, and nobody restarts anything."""
    own_redis.start()
    pipeline = make_pipeline(postgres=with_password(own_postgres), redis=own_redis, redis_db=0, **FAST).listen_to(small)
    redis, files = pipeline.redis(), {name: tmp_path / name for name in ("DATABASE_URL", "REDIS_URL")}
    redis.execute_command("ACL", "SETUSER", "app", "on", ">one", "~*", "&*", "+@all")

    def write(word):
        files["DATABASE_URL"].write_text(login(own_postgres, pipeline.database, f"{word} word") + "\n")
        files["REDIS_URL"].write_text(f"redis://app:{word}@127.0.0.1:{own_redis.port}/0\n")
    write("one")
    pipeline.migrate()
    settings = {name: None for name in files} | {name + "_FILE": path for name, path in files.items()}
    services = [service.ready() for service in pipeline.start(**settings)]
    pipeline.feed(small[:len(small) // 2])
    until(pipeline.drained(), "the first half is through", alive=services)
    with pipeline.connect() as connection:
        connection.execute("ALTER ROLE app PASSWORD 'two word'")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    redis.execute_command("ACL", "SETUSER", "app", "resetpass", ">two")
    redis.execute_command("CLIENT", "KILL", "USER", "app")
    pipeline.feed(small[len(small) // 2:])
    becomes(services, 503, "postgres_sync_healthy", False)
    becomes(services, 503, "redis_consumer_healthy", False)
    files["DATABASE_URL"].write_text("nonsense")   # half written: what was there before stays
    write("two")
    becomes(services, 200)
    until(pipeline.drained(), "the other half is through", alive=services)
    pipeline.assert_exact()


def test_a_rotated_key_of_the_node(pipeline, small, make_node, tmp_path):
    """The first node refuses the key, and quotes it; the file then holds another URL."""
    old, new = make_node(nodes.Chain.of(small)), make_node(nodes.Chain.of(small))
    old.mood = lambda *_: nodes.error(-32000, "invalid project id secret-key", 401)
    (tmp_path / "url").write_text(old.url)
    first = pipeline.migrate().listen_to(small).start("ingest")
    pipeline.feed(small)
    until(pipeline.drained(["ingest"]), "the tables know the chain", alive=[first])
    pipeline.stop()
    ingest = pipeline.start("ingest", RPC_URL_FILE=tmp_path / "url", RECONCILE_INTERVAL_MS=200)
    ingest.says("node refuses: invalid project id [*]{3}")
    (tmp_path / "url").write_text(new.url)
    until(lambda: new.calls["eth_blockNumber"], "the new node is asked", alive=[ingest])
    assert "secret-key" not in ingest.messages() + ingest.get("/status")[1]


@pytest.mark.parametrize("variable, value, words", [
    ("DATABASE_URL", "postgresql://u:s3cr@hunter2@127.0.0.1:5432/db", ("s3cr", "hunter2")),
    ("DATABASE_URL", "postgresql://u:s3c/r@127.0.0.1:5432/db", ("s3c",)),
    ("REDIS_URL", "redis://HUNTER2@127.0.0.1:1", ("HUNTER2",)),
    ("REDIS_URL", "redis://HUNTER2@127.0.0.1", ("HUNTER2",)),
    ("REDIS_URL", "redis+sentinel://u:HUN@TER2@127.0.0.1:1,127.0.0.1:2", ("HUN", "TER2")),
    ("REDIS_URL", "redis://u:HUNTER2", ("HUNTER2",)),
    ("DATABASE_URL", "postgresql://u:hunter2/db", ("hunter2",)),
    ("DATABASE_URL", "host=h password=s3cr hunter2 dbname=d", ("s3cr", "hunter2")),
    ("DATABASE_URL", "host=h pwd=hunter2", ("hunter2",)),
    ("DATABASE_URL", "hunter2", ("hunter2",)),
    ("DATABASE_URL", "psql -h h --password hunter2", ("hunter2",)),
    ("DATABASE_URL", "password:hunter2 host:h", ("hunter2",)),
    ("DATABASE_URL_FILE", "hunter2", ("hunter2",)),
    ("REDIS_URL", "redis-cli -h h -a hunter2", ("hunter2",)),
    ("REDIS_URL", "redis://h/hunter2", ("hunter2",)),
    ("RPC_URL", "127.0.0.1/v3/hunter2", ("hunter2",)),
    ("RPC_URL", "wss://127.0.0.1/v3/hunter2", ("hunter2",)),
])
def test_a_refused_url_shows_no_secret(variable, value, words):
    done = start("ingest", **{variable: value})
    assert done.returncode == 2 and variable in done.stderr
    for word in words:
        assert word not in done.stderr, done.stderr


def test_no_server_and_no_library_shows_a_secret(make_pipeline):
    """libpq, hiredis and the resolver quote the host. It begins with the password here, so that they have something to quote."""
    pipeline = make_pipeline(database=False)
    settings = {"DATABASE_URL": "postgresql://u:hunter2@hunter2.invalid/db", "REDIS_URL": "redis://:swordfish@swordfish.invalid:6379"}
    done = pipeline.run("ingest", "check", **settings)
    assert done.returncode == 1 and done.stdout.count("***.invalid") >= 1, done.stdout
    service = pipeline.start("ingest", DATABASE_URL=settings["DATABASE_URL"], LOG_LEVEL="debug")
    service.says(r"\*\*\*\.invalid")
    shown = done.stdout + done.stderr + service.messages() + service.get("/status")[1]
    assert "hunter2" not in shown and "swordfish" not in shown


def test_a_file_that_is_gone_is_said_once(make_pipeline, tmp_path):
    """With the failure of the server, not at each of the many tries."""
    away = Dummy(closes=True)
    try:
        (tmp_path / "url").write_text(f"postgresql://u@127.0.0.1:{away.port}/db")
        service = make_pipeline(database=False).start("cascade", DATABASE_URL=None, DATABASE_URL_FILE=tmp_path / "url")
        service.says("waiting for=postgresql")
        (tmp_path / "url").unlink()
        service.says("DATABASE_URL_FILE: No such file or directory, so the value that it had before is used")
        tries = away.calls
        until(lambda: away.calls > tries + 8, "it has tried again", alive=[service])
        assert service.messages().count("No such file or directory") <= 3, service.tail()
    finally:
        away.close()


@pytest.mark.parametrize("words", [("key", "vault"), ("ERR", "cascade"), ("NOGROUP", "Closed")])
def test_a_password_is_a_word_that_servers_say(pipeline, small, words):
    """Nothing is decided by a text after its secrets were masked, and no name of ours is masked."""
    url = f"{pipeline.postgres_server.url(pipeline.database)}?password={words[0]}&sslpassword={words[1]}"
    pipeline.listen_to(small).migrate().settings["DATABASE_URL"] = url
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(small)
    until(pipeline.drained(), "all is through", alive=services)
    pipeline.redis().delete(*pipeline.streams, pipeline.vault_updates, pipeline.term_updates)
    until(pipeline.drained(), "streams and groups are made again", alive=services)
    status = json.loads(pipeline.run("ingest", "status", "--json").stdout)
    assert status["state"] == "working" and [stage["name"] for stage in status["stages"]] == list(SERVICES), status
    assert pipeline.vault_updates in pipeline.run("cascade", "check").stdout + pipeline.run("cascade", "status").stdout
    pipeline.assert_exact()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_name_with_several_addresses(make_pipeline, own_servers, server_folder, small, address):
    """Each is tried: a server that listens on one of localhost's alone, a service without an address of its own whose first pod is away."""
    known = {one[4][0] for one in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    if known < {"127.0.0.1", "::1"}:
        pytest.skip("localhost has one address here")
    server = RedisServer(server_folder, arguments=("--bind", address))
    server.client = lambda db=0: redis.Redis(host=address, port=server.port, db=db, decode_responses=True)
    own_servers.append(server)
    pipeline = make_pipeline(redis=server.start(), redis_db=0).migrate().listen_to(small)
    services = pipeline.start(REDIS_URL=f"redis://localhost:{server.port}/0")
    pipeline.feed(small)
    until(pipeline.drained(), "all is through", alive=services)
    pipeline.assert_exact()


def test_a_closed_idle_connection_is_no_failure(make_pipeline, own_postgres, small):
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres).listen_to(small)
    with own_postgres.connect() as connection:
        connection.execute("ALTER ROLE postgres SET idle_session_timeout = '1500ms'")
    services = [service.ready() for service in pipeline.start()]
    closed = 0

    def closed_more():
        return own_postgres.log.read_text(errors="replace").count("idle-session timeout") > closed
    for i in range(4):
        pipeline.feed(small[i * len(small) // 4:(i + 1) * len(small) // 4])
        until(pipeline.drained(), f"part {i} is through", alive=services)
        closed = own_postgres.log.read_text(errors="replace").count("idle-session timeout")
        until(closed_more, "idle sessions are closed", alive=services)
    for service in services:
        assert sample(service.get("/metrics")[1], "batch_retries_total") == 0, service.tail()
    pipeline.assert_exact()


def test_redis_closes_what_is_idle_while_a_batch_takes_longer(make_pipeline, own_redis, small):
    """Each batch would be done again for ever, if its ack needed the connection that read it."""
    own_redis.start()
    pipeline = make_pipeline(redis=own_redis, redis_db=0, WORKERS=1).listen_to(small).migrate()
    with pipeline.connect() as connection:
        connection.execute("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NULL; END $$")
        connection.execute("CREATE TRIGGER slow AFTER INSERT ON deposited_events FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    own_redis.client().config_set("timeout", 1)
    service = pipeline.start("ingest").ready()
    pipeline.feed(small)
    until(pipeline.drained(("ingest",)), "all is through", alive=[service])
    metrics = service.get("/metrics")[1]
    assert sample(metrics, "batch_retries_total") == 0 and sample(metrics, "dead_letters_total") == 0, service.tail()
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
