"""Two databases on one consumer group: each would get a part of the entries. The group belongs to the first; the second is refused, and told the way out."""
import shutil
import signal
import subprocess
import time

import pytest

import feeds
import oracle
from programs import SERVICES
from test_reconcile_service import metric
from proxy import Proxy
from waiting import until


def shown(pipeline):
    return f"{pipeline.postgres_server.port}/{pipeline.database}"


def test_the_second_one_is_refused_and_touches_nothing(make_pipeline, small):
    first = make_pipeline().listen_to(small)
    first.start()
    first.feed(small[:len(small) // 2])
    first.drain()
    second = make_pipeline(redis_db=first.redis_db).migrate().listen_to(small)
    key = f"{first.group}:database"
    for service in second.start():
        service.says("the consumer group is another database's; nothing is read")
        for word in (shown(first), shown(second), "CONSUMER_GROUP_SUFFIX", f"delete the key {key}"):
            service.says(word)
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") == 503
        assert metric(service, "foreign_database") == 1
        assert shown(first) in service.get("/status")[1]
        done = second.run(service.name, "check")
        assert done.returncode == 1 and shown(first) in done.stdout and shown(second) in done.stdout
        assert first.run(service.name, "check").returncode == 0
    first.feed(small[len(small) // 2:])
    first.drain().assert_exact()
    with second.connect() as connection:
        assert connection.execute("SELECT count(*) FROM event_sighting").fetchone() == (0,)
    # the way out: a group of its own
    second.stop()
    other = make_pipeline(redis_db=first.redis_db, CONSUMER_GROUP_SUFFIX="b").listen_to(small)
    other.start()
    other.drain()
    other.entries = first.entries
    other.assert_exact()
    # or the other one is gone
    first.stop()
    second.entries = first.entries
    waits = second.start()
    for service in waits:
        service.says("nothing is read")
    first.redis().delete(key)
    for service in waits:
        service.says("the consumer group is ours")
    assert second.run("ingest", "replay").returncode == 0
    second.drain().assert_exact()


@pytest.mark.parametrize("loss", ["the key", "all of Redis"])
def test_one_that_runs_notices_that_another_has_taken_the_group(make_pipeline, small, loss):
    first = make_pipeline(CLAIM_IDLE_MS=300).listen_to(small)
    ran = first.start()
    first.feed(small[:20])
    first.drain()
    second = make_pipeline(redis_db=first.redis_db, CLAIM_IDLE_MS=300).migrate().listen_to(small)   # the first one's reads took some entries
    for service in ran:
        service.freeze()
    if loss == "the key":
        first.redis().delete(f"{first.group}:database")
    else:
        first.redis().flushdb()
    second.start()
    for service in second.alive():
        service.ready()
    for service in ran:
        service.signal(signal.SIGCONT)
        service.says("the consumer group is another database's; nothing is read")
        until(lambda service=service: service.status_of("/readyz") == 503, "it is not ready", alive=[service])
    with first.connect() as connection:
        before = connection.execute("SELECT count(*) FROM event_sighting").fetchone()
        second.feed(feeds.new_ids(small))
        second.drain().assert_exact()
        assert connection.execute("SELECT count(*) FROM event_sighting").fetchone() == before
    first.stop()   # exits 0 within SHUTDOWN_TIMEOUT_MS, or the test fails


@pytest.mark.parametrize("frozen", [True, False])
def test_a_batch_under_way_while_the_group_changes_hands(make_pipeline, small, frozen):
    """What a program has in hand is the other one's then, and is not acked. frozen: it stands still for so long that nobody has told it."""
    pipeline = make_pipeline(WORKERS=1, CLAIM_IDLE_MS=300).listen_to(small)
    ingest = pipeline.start("ingest").ready()
    client, key = pipeline.redis(), f"{pipeline.group}:database"
    stream = next(m.stream for m in small if m.name == "Deposited")
    ours = client.hget(key, stream)

    def pending():
        return {name: client.xpending(name, pipeline.group)["pending"] for name in feeds.streams_of(small)}
    with pipeline.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE deposited_events")
        pipeline.feed(small)
        until(lambda: connection.execute("SELECT count(*) FROM pg_locks w JOIN pg_locks h USING (pid) WHERE NOT w.granted AND h.granted "
                                         "AND w.relation = 'deposited_events'::regclass AND h.locktype = 'advisory'").fetchone() == (1,),
              "a batch, which holds the event lock, waits for the table", alive=[ingest])
        if frozen:
            ingest.freeze()
            began = time.monotonic()
            until(lambda: time.monotonic() > began + 12, "it has not asked for so long that it must ask again")
        held = pending()
        client.hset(key, stream, f"other elsewhere {client.time()[0]} the other one")
        if not frozen:
            ingest.says("another database's; nothing is read")
    ingest.signal(signal.SIGCONT)
    ingest.says("batch is committed but not acked.*consumer group is another database's")
    assert pending() == held and sum(held.values()) > 0
    client.hset(key, stream, ours)
    ingest.says("the consumer group is ours")
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_two_schemas_of_one_database(make_pipeline, small):
    first = make_pipeline().listen_to(small)
    with first.connect() as connection:
        connection.execute("CREATE SCHEMA other")
    first.start()
    first.feed(small)
    first.drain()
    url = first.postgres_server.url(first.database) + "?options=-csearch_path%3Dother"
    ingest = first.start("ingest", DATABASE_URL=url)
    ingest.says(r"schema public\).* not to .*schema other\)")
    first.assert_exact()


def test_a_copy_waits_for_the_programs_of_the_original(make_pipeline, small):
    """A dump that is restored has the same identity: it may go on in the place of the original, and not beside it."""
    first = make_pipeline().listen_to(small)
    first.start()
    first.feed(small[:20])
    first.drain()
    copy = make_pipeline(redis_db=first.redis_db, database=False).listen_to(small)
    server = first.postgres_server
    first.stop()   # nothing may use a template
    with server.connect() as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{first.database}'")
        connection.execute(f'CREATE DATABASE "{copy.database}" TEMPLATE "{first.database}"')
    first.start()
    for service in first.alive():
        service.ready()
    for service in copy.start():
        service.says("and this is a copy of it")
        assert copy.run(service.name, "check").returncode == 1
    first.stop()
    for service in copy.alive():
        service.says("the consumer group is ours")
    copy.entries = list(first.entries)
    copy.feed(small[20:])
    copy.drain().assert_exact()


def test_a_database_that_moved_with_its_rows_goes_on(make_pipeline, own_postgres, small):
    """pg_dump into another server, and the programs follow: no word is needed."""
    if not shutil.which("pg_dump"):
        pytest.skip("no pg_dump")
    first = make_pipeline().listen_to(small)
    first.start()
    first.feed(small[:20])
    first.drain()
    first.stop()
    moved = make_pipeline(redis_db=first.redis_db, postgres=own_postgres.start()).listen_to(small)
    dump = subprocess.run(["pg_dump", "--no-owner", "--no-privileges", first.postgres_server.url(first.database)], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", own_postgres.url(moved.database)], input=dump, stdout=subprocess.DEVNULL, check=True)
    moved.start()
    moved.entries = list(first.entries)
    moved.feed(small[20:])
    moved.drain().assert_exact()


@pytest.mark.parametrize("name", SERVICES)
def test_a_database_without_an_identity_says_so(pipeline, name):
    pipeline.migrate()
    with pipeline.connect() as connection:
        connection.execute("DELETE FROM pipeline_identity")
        service = pipeline.start(name)
        service.says("INSERT INTO pipeline_identity")
        connection.execute("INSERT INTO pipeline_identity DEFAULT VALUES")
    service.ready()


def test_without_the_right_to_the_servers_identity(make_pipeline, own_postgres, small):
    """pg_control_system() may be closed: the place is then the database's and the schema's number alone."""
    pipeline = make_pipeline(postgres=own_postgres.start()).listen_to(small)
    with pipeline.connect() as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
        connection.execute("CREATE ROLE owner LOGIN")
        connection.execute(f'ALTER DATABASE "{pipeline.database}" OWNER TO owner')
        connection.execute("ALTER SCHEMA public OWNER TO owner")
    pipeline.settings["DATABASE_URL"] = own_postgres.url(pipeline.database).replace("postgres@", "owner@")
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        assert not oracle.compare(connection, pipeline.entries)


def test_a_name_that_leads_to_another_database_for_a_moment(make_pipeline, own_postgres, small):
    """A mistake in a name service, or in a failover: nothing is read then, and all goes on by itself when the name is right again."""
    first = make_pipeline(CLAIM_IDLE_MS=300).migrate().listen_to(small)
    other = make_pipeline(postgres=own_postgres.start(), database=False)
    other.database = first.database
    other.create_database().migrate()
    proxy = Proxy(first.postgres_server.port)
    right, url = proxy.target, proxy.url(first.environment()["DATABASE_URL"])

    def lead_to(port):
        proxy.target = port
        for pair in list(proxy.pairs):
            proxy._close(pair)
    try:
        service = first.start("ingest", DATABASE_URL=url).ready()
        first.feed(small[:20])
        first.drain(["ingest"])
        lead_to(own_postgres.port)
        first.feed(small[20:40])
        service.says("the consumer group is another database's; nothing is read")
        lead_to(right)
        service.says("the consumer group is ours")
        first.feed(small[40:])
        first.start("cascade", "analytics")
        first.drain().assert_exact()
        with other.connect() as connection:
            assert connection.execute("SELECT count(*) FROM event_sighting").fetchone() == (0,)
    finally:
        proxy.close()


def test_dead_letters_of_another_database_are_not_retried(make_pipeline, small):
    first = make_pipeline().migrate().listen_to(small)
    first.start()
    first.feed(small)
    first.redis().xadd(small[0].stream, {"payload": "{}"})
    first.drain()
    second = make_pipeline(redis_db=first.redis_db).migrate().listen_to(small)
    done = second.run("ingest", "dlq", "retry", "--all")
    assert done.returncode == 1 and "nothing was retried: group" in done.stderr, done.stderr
    assert len(first.dead_letters()) == 1
