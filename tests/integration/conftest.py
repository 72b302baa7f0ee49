"""What the tests share: one Redis and one PostgreSQL per session, a fresh database in each for a test, its random seed, and which build it runs."""
import fcntl
import os
import random
import shutil
import subprocess

import pytest

import feeds
import programs
from node import Node
from programs import Pipeline, close_all
from servers import PostgresServer, RedisServer, new_folder

# In the environment: the processes that pytest-xdist starts have the same.
os.environ["TEST_SEED"] = os.environ.get("TEST_SEED") or str(random.SystemRandom().randrange(10**9))
SEED = int(os.environ["TEST_SEED"])


# Programs under faults, and what comes from outside: on SANITIZED_BUILD_DIR, where that is set. All others on BUILD_DIR.
SANITIZED = {f"test_{name}.py" for name in (
    "by_hand", "chaos", "claims", "cluster", "commands", "config", "connections", "crash_points", "dead_letters", "faults", "http", "http_held_open", "loss",
    "memory_short", "nonsense", "outage", "poison", "reconcile_service", "recording", "sentinel", "settings", "start", "stop", "surroundings", "tls")}
# What takes a minute or more begins first, so that none of it runs alone at the end.
LONG = ("test_twice_the_same", "test_a_move_by_logical_replication", "test_backup_and_restore", "test_a_copy_waits", "test_a_database_that_moved",
        "test_storm", "test_each_alert_fires", "test_the_demo_lives")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.name.startswith(LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if "SANITIZED_BUILD_DIR" in os.environ:
        programs.BUILD_DIR = programs.PROJECT / os.environ["SANITIZED_BUILD_DIR" if item.path.name in SANITIZED else "BUILD_DIR"]


def pytest_report_header():
    return f"seed {SEED} (TEST_SEED={SEED} runs the same again)"


@pytest.fixture
def seed(request):
    """Differs from run to run unless TEST_SEED is set; shown when the test fails."""
    print(f"TEST_SEED={SEED} for {request.node.nodeid}")
    return SEED


@pytest.fixture(scope="session")
def server_folder():
    folder = new_folder(fast=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def base_folder(tmp_path_factory):
    """The same for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make): a folder that make(folder) has filled, once in a run, whichever process needs it first."""
    def get(name, make):
        folder, done = base_folder(tmp_path_factory) / f"once-{name}", base_folder(tmp_path_factory) / f"once-{name}.done"
        with open(folder.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder
    return get


@pytest.fixture(scope="session")
def release(once):
    """A folder with what deploy/release makes of the last commit."""
    def make(folder):
        done = subprocess.run([programs.PROJECT / "deploy/release", folder], capture_output=True, text=True,
                              env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"})
        assert done.returncode == 0, done.stdout + done.stderr
    return once("release", make)


def pytest_sessionfinish(session):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for folder in session.config._tmp_path_factory.getbasetemp().glob("once-*/"):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(server_folder):
    server = RedisServer(server_folder)
    yield server.start()
    server.close()


@pytest.fixture(scope="session")
def postgres_server(server_folder):
    server = PostgresServer(server_folder, shared=True, own_identity=True)
    yield server.start()
    server.close()


@pytest.fixture(scope="session")
def recording():
    return feeds.load("recording.jsonl.xz")


@pytest.fixture(scope="session")
def part(recording):
    """The recording's first blocks, 3,000 events of every kind."""
    return feeds.prefix(recording, 3000)


@pytest.fixture(scope="session")
def small(recording):
    """The recording's first blocks, 1,000 events; no redemptions yet."""
    return feeds.prefix(recording, 1000)


@pytest.fixture
def own_servers():
    """Servers of one test, closed after its pipelines."""
    servers = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def make_pipeline(redis_server, postgres_server, own_servers, tmp_path):
    """make_pipeline(redis=…, postgres=…, SETTING=value, …): a pipeline on the session's servers, or on others."""
    made = []

    def make(redis=None, postgres=None, database=True, redis_db=None, **settings):
        pipeline = Pipeline(redis or redis_server, postgres or postgres_server, tmp_path, settings, redis_db)
        made.append(pipeline)
        if database:
            pipeline.create_database(later=pipeline.postgres_server.shared)
        return pipeline
    yield make
    close_all(made)


@pytest.fixture
def pipeline(make_pipeline):
    return make_pipeline()


@pytest.fixture
def own_redis(server_folder, own_servers):
    """A Redis for this test alone, which writes everything to disk; not started yet: it may be stopped, killed, started again."""
    own_servers.append(RedisServer(server_folder, append_only=True))
    return own_servers[-1]


@pytest.fixture
def own_postgres(server_folder, own_servers):
    """A PostgreSQL for this test alone, not started yet."""
    own_servers.append(PostgresServer(server_folder, durable=True))
    return own_servers[-1]


@pytest.fixture
def make_node():
    """make_node(chain): a node of it that misbehaves as the test likes."""
    nodes = []

    def make(chain, **how):
        nodes.append(Node(chain, **how))
        return nodes[-1]
    yield make
    for node in nodes:
        node.close()
