"""A rolling upgrade: a second version of the programs, built from these sources and a made-up additive migration, comes while the first works under a
feed. Both work side by side, a program of the first version may restart meanwhile, and at the end nothing is missing or wrong."""
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import programs
from servers import tied
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
NEXT = """-- additive: a column that nothing needs, an index, a table
LOCK TABLE vault, term IN ACCESS EXCLUSIVE MODE; -- before anything that takes time
ALTER TABLE vault ADD COLUMN note TEXT;
CREATE INDEX ON term (type);
CREATE TABLE made_up (vault_term TEXT);
"""


@pytest.fixture(scope="module")
def next_version(once):
    """-> the build folder of these sources and one more migration"""
    return once("next", make_next_version) / "build"


def make_next_version(folder):
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=lambda at, names: {name for name in names if name in (".git", ".venv", ".run") or name.startswith("build")})
    (source / "migrations/9000_made_up.sql").write_text(NEXT)
    listing = source / "migrations/meson.build"
    text = listing.read_text()
    last = sorted(path.name for path in (ROOT / "migrations").glob("[0-9]*.sql"))[-1]
    assert f"'{last}')" in text
    listing.write_text(text.replace(f"'{last}')", f"'{last}', '9000_made_up.sql')"))
    (source / "meson.build").write_text((source / "meson.build").read_text().replace("version: '0.1.0'", "version: '0.2.0'"))
    for command in (["meson", "setup", folder / "build", source], ["ninja", "-C", folder / "build", *(f"{name}/{name}" for name in programs.SERVICES)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture
def use(monkeypatch):
    """use(folder): programs are started from there; use(None): from the build under test again"""
    ours = programs.BUILD_DIR
    return lambda folder: monkeypatch.setattr(programs, "BUILD_DIR", folder or ours)


def test_two_versions_at_once(make_pipeline, recording, next_version, use):
    pipeline = make_pipeline(CLAIM_IDLE_MS=1000).listen_to(recording)
    old = [service.ready() for service in pipeline.start()]
    pieces = [[replace(message, id=None) for message in recording[i::12]] for i in range(12)]
    fed = threading.Semaphore(0)

    def feed():
        for piece in pieces:
            pipeline.feed(piece)
            fed.release()
    feeder = threading.Thread(target=feed)
    feeder.start()
    assert fed.acquire(timeout=programs.PATIENCE) and fed.acquire(timeout=programs.PATIENCE)

    use(next_version)
    done = pipeline.run("ingest", "migrate")
    assert done.returncode == 0 and "applied 9000_made_up" in done.stdout, done.stdout + done.stderr
    assert all(service.running() for service in old)
    new = [service.ready() for service in pipeline.start()]
    use(None)
    assert fed.acquire(timeout=programs.PATIENCE)
    old[1].kill()   # and comes back as the version it was: a node of the cluster restarts
    back = pipeline.start("cascade").ready()
    assert pipeline.run("ingest", "check").returncode == 0, "the old version finds fault with an additive migration"
    for service in (old[0], back, old[2]):
        service.stop()
    feeder.join()
    until(pipeline.drained(), "all is drained", alive=new)
    pipeline.assert_exact()
    use(next_version)
    pipeline.assert_verified()


def test_a_migration_that_is_not_additive_stops_the_old_at_their_start(make_pipeline, small, next_version, use):
    pipeline = make_pipeline().listen_to(small).migrate()
    use(next_version)
    assert pipeline.run("ingest", "migrate").returncode == 0
    with pipeline.connect() as connection:
        connection.execute("UPDATE schema_migrations SET additive = false WHERE version = 9000")
    use(None)
    service = pipeline.start("cascade")
    service.says("newer than this program")
    assert service.running() and service.status_of("/readyz") == 503


def start_migration(pipeline, use, next_version):
    use(next_version)
    return subprocess.Popen(tied([programs.executable("ingest"), "migrate"]), env=programs.clean_environment(pipeline.environment()),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ends_well(migrate):
    output = migrate.communicate(timeout=programs.PATIENCE)[0]
    assert migrate.returncode == 0 and "applied 9000_made_up" in output, output


def waits_for(watcher, table):
    return watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = %s::regclass", (table,)).fetchone()[0]


def test_a_migration_gives_way_before_it_is_a_deadlock(make_pipeline, next_version, use):
    """It has one table and waits for another, whose holder comes to wait for the first."""
    pipeline = make_pipeline().migrate()
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute("SELECT count(*) FROM term")
        migrate = start_migration(pipeline, use, next_version)
        until(lambda: waits_for(watcher, "term"), "the migration has vault and waits for term")
        holder.execute("SELECT count(*) FROM vault")
        assert migrate.poll() is None
        holder.rollback()
        ends_well(migrate)
    assert pipeline.deadlocks() == 0


def test_a_migration_waits_for_nobody_with_everybody_behind_it(make_pipeline, small, next_version, use):
    """A long transaction holds a table: the migration steps back again and again, the pipeline goes on, and in the end it is applied."""
    pipeline = make_pipeline().listen_to(small)
    services = [service.ready() for service in pipeline.start()]
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute("SELECT count(*) FROM vault")
        migrate = start_migration(pipeline, use, next_version)
        until(lambda: waits_for(watcher, "vault"), "the migration waits for the table")
        pipeline.feed(small)
        until(pipeline.drained(), "the feed is through while the migration waits", alive=services)
        assert migrate.poll() is None
        holder.rollback()
        ends_well(migrate)
    pipeline.assert_exact()
