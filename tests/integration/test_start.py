"""Start order does not matter: what is not there yet is waited for, and the log says so."""
import pytest

from programs import SERVICES


def test_redis_comes_later(make_pipeline, own_redis, small):
    pipeline = make_pipeline(redis=own_redis).listen_to(small)
    services = pipeline.start()
    for service in services:
        service.says(r"redis")
        assert service.status_of("/readyz") != 200
    own_redis.start()
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_postgres_comes_later(make_pipeline, own_postgres, small):
    pipeline = make_pipeline(postgres=own_postgres, database=False).listen_to(small)
    pipeline.feed(small)
    services = pipeline.start()
    for service in services:
        service.says(r"postgres|database")
        assert service.status_of("/readyz") != 200
    own_postgres.start()
    pipeline.create_database()
    pipeline.drain().assert_exact()


def test_the_schema_comes_later(pipeline, small):
    pipeline.listen_to(small)
    pipeline.feed(small)
    services = pipeline.start("cascade", "analytics") + [pipeline.start("ingest", RUN_MIGRATIONS="false")]
    for service in services:
        service.says(r"schema|migrat")
        assert service.status_of("/livez") == 200 and service.status_of("/readyz") != 200
    pipeline.migrate()
    pipeline.drain().assert_exact()


def test_many_replicas_migrate_at_once(pipeline, small):
    pipeline.listen_to(small)
    for _ in range(4):
        pipeline.start("ingest")
    pipeline.start("cascade", "analytics")
    pipeline.feed(small)
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("name", SERVICES)
def test_a_schema_from_the_future_is_not_guessed_at(pipeline, small, name):
    pipeline.migrate()
    with pipeline.connect() as connection:
        connection.execute(_FUTURE)
    pipeline.listen_to(small)
    pipeline.feed(small)
    service = pipeline.start(name)
    service.may_end()   # it waits or stops
    service.says(r"schema|migrat")
    assert pipeline.run(name, "check").returncode == 1
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone() == (0,)
    assert service.code() != 0


# One more row in schema_migrations, its version a thousand beyond the newest; not additive, other columns as in the newest.
_FUTURE = """
DO $$
DECLARE
    newest schema_migrations;
BEGIN
    SELECT * INTO newest FROM schema_migrations ORDER BY version DESC LIMIT 1;
    newest.version := newest.version + 1000;
    newest.additive := false;
    INSERT INTO schema_migrations SELECT newest.*;
END $$
"""
