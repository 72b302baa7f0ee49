"""What a second reader of the operations found: breakers that stay open, waits without a word, refusals that nobody hears of."""
import signal
import subprocess

import pytest

from programs import SERVICES, clean_environment, executable
from test_config import start
from test_http import health
from test_sequences import STREAM, deposit, deposits
from waiting import until


def opened(service):
    return service.messages().count("circuit breaker open")


def test_a_restart_of_postgresql_while_nobody_works(make_pipeline, own_postgres):
    """Each worker meets its own dead connection: that is old news, and no run of failures."""
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres, WORKERS=8, CIRCUIT_BREAKER_THRESHOLD=3, CIRCUIT_BREAKER_TIMEOUT_MS=600000)
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest").ready()
    pipeline.start("cascade", "analytics")
    pipeline.feed([deposits(deposit(n, term=n)) for n in range(1, 30)])
    pipeline.drain()
    with pipeline.connect() as connection:   # of workers that have had nothing to do for a while
        until(lambda: connection.execute("SELECT count(*) >= 3 FROM pg_stat_activity WHERE application_name = 'ingest' AND state = 'idle'"
                                         " AND now() - state_change > interval '3 seconds'").fetchone()[0], "three of them are idle")
    own_postgres.kill()
    own_postgres.start()
    until(lambda: health(service)[1]["postgres_sync_healthy"], "PostgreSQL is seen", alive=[service])
    for n in range(30, 60):
        pipeline.feed([deposits(deposit(n, term=n))])
    pipeline.drain().assert_exact()
    assert opened(service) == 0, service.tail()


def test_a_probe_makes_its_connections_anew(make_pipeline, own_postgres):
    """The breaker of twelve workers, eleven of which had been idle: the first probe of a server that is back closes it."""
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres, WORKERS=12, CIRCUIT_BREAKER_THRESHOLD=1, CIRCUIT_BREAKER_TIMEOUT_MS=1000)
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest").ready()
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain(["ingest"])
    own_postgres.kill()
    pipeline.feed([deposits(deposit(2))])
    until(lambda: opened(service) > 0, "the breaker is open", alive=[service])
    own_postgres.start()
    before = opened(service)
    until(lambda: health(service)[0] == 200, "healthy again", alive=[service])
    assert opened(service) <= before + 1, f"a probe may have been under way\n{service.tail()}"
    pipeline.drain(["ingest"])


def test_waiting_for_another_who_migrates(pipeline):
    """It says so, stops when it is asked to, and migrates nothing after that."""
    with pipeline.connect() as other:
        other.autocommit = False
        other.execute("SELECT pg_advisory_xact_lock(hashtext('migrations'), hashtext(current_schema()))")
        service = pipeline.start("ingest")
        service.says(r"another program migrates")
        service.signal(signal.SIGTERM)
        service.stopped()
        other.rollback()
        assert other.execute("SELECT to_regclass('atom')").fetchone() == (None,)


@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("show", "1-1"), ("drop", "--all")])
def test_letters_that_redis_does_not_hand_out(pipeline, command):
    pipeline.migrate()
    pipeline.redis().set(pipeline.dead_letter_stream, "no stream")
    done = pipeline.run("ingest", "dlq", *command)
    assert done.returncode == 1 and "WRONGTYPE" in done.stderr, done.stderr
    assert "no dead letters" not in done.stderr


def test_check_sees_a_database_that_is_read_only(make_pipeline, own_postgres):
    own_postgres.start()
    pipeline = make_pipeline(postgres=own_postgres).migrate()
    with own_postgres.connect() as connection:
        connection.execute(f'ALTER DATABASE "{pipeline.database}" SET default_transaction_read_only = on')
    done = pipeline.run("ingest", "check")
    assert done.returncode == 1 and "read_only" in done.stdout, done.stdout


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("setting", [{"DATABASE_URL": "postgresql://h:99999/d"}, {"DATABASE_URL": "postgresql://h:5432,i:70000/d"},
                                     {"CONSUMER_GROUP_SUFFIX": "replay"}])
def test_values_that_can_never_work(name, setting):
    done = start(name, **setting)
    assert done.returncode == 2 and next(iter(setting)) in done.stderr, done.stderr


def test_streams_separated_by_blanks():
    done = start("ingest", REDIS_STREAMS="deposited redeemed")
    assert done.returncode == 2 and "commas" in done.stderr
    assert "commas" not in start("ingest", REDIS_STREAMS=" deposited , redeemed ", WORKERS="0").stderr


@pytest.mark.parametrize("name", SERVICES)
def test_output_that_cannot_be_written(pipeline, name):
    pipeline.migrate()
    with open("/dev/full", "w") as full:
        done = subprocess.run([executable(name), "dlq", "list", "--json"], env=clean_environment(pipeline.environment({})), stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and "cannot be written" in done.stderr, done.stderr


def test_reset_of_rows_that_nothing_would_bring_back(pipeline):
    """They came from the chain, no stream holds an event, and nobody says what the contract's address is."""
    pipeline.streams = [STREAM]
    pipeline.start("ingest")
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        connection.execute("UPDATE deposited_events SET stream = 'chain'")
    pipeline.redis().xtrim(STREAM, 0)
    done = pipeline.run("ingest", "replay", "--reset", RPC_URL="http://127.0.0.1:1/")
    assert done.returncode == 1 and "CONTRACT_ADDRESS" in done.stderr, done.stderr
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone() == (1,)
