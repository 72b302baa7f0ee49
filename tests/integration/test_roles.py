"""Three roles without ownership, a schema of its own, and sessions whose search_path is another one."""
import time
from dataclasses import replace

import pytest
from psycopg import errors

import feeds
from node import Chain
from programs import PROJECT, SERVICES
from test_reconcile_service import wait_for_chain
from test_sequences import STREAM, deposit, deposits, id32, notice
from waiting import until

GRANTS = (PROJECT / "deploy/grants.sql").read_text()


def as_role(pipeline, name):
    return {"DATABASE_URL": pipeline.postgres_server.url(pipeline.database).replace("//postgres@", f"//pipeline_{name}@"), "RUN_MIGRATIONS": "false"}


@pytest.fixture
def granted(pipeline):
    pipeline.migrate()
    with pipeline.connect() as connection:
        for name in SERVICES:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (f"pipeline_{name}",)).fetchone():
                connection.execute(f"CREATE ROLE pipeline_{name} LOGIN")
        connection.execute(f'REVOKE TEMPORARY ON DATABASE "{pipeline.database}" FROM PUBLIC')
        connection.execute(GRANTS)
    return pipeline


def test_the_whole_pipeline_under_three_roles(granted):
    """With reorgs; then each verifies and rebuilds what is its own."""
    pipeline, reorg = granted, feeds.load("reorg.jsonl.xz")
    pipeline.listen_to(reorg)
    for name in SERVICES:
        pipeline.start(name, **as_role(pipeline, name))
    pipeline.feed(reorg)
    pipeline.drain().assert_exact()
    for name in SERVICES:
        for command in ("verify", "rebuild", "verify"):
            done = pipeline.run(name, command, **as_role(pipeline, name))
            assert done.returncode == 0, f"{name} {command}\n{done.stdout}\n{done.stderr}"
    pipeline.drain().assert_exact()


def test_a_role_has_no_more_than_it_needs(granted):
    """Nothing of others' tables; and what takes TRUNCATE says so, and leaves everything as it was."""
    pipeline = granted
    foreign = {"ingest": "UPDATE term SET type = 'Atom'", "cascade": "DELETE FROM deposited_events", "analytics": "UPDATE vault SET position_count = 1"}
    for name, statement in foreign.items():
        with pipeline.postgres_server.connect(pipeline.database) as connection:
            connection.execute(f"SET ROLE pipeline_{name}")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
    checked = pipeline.run("ingest", "check", **as_role(pipeline, "ingest"))
    assert checked.returncode == 0 and "warn  program privileges" in checked.stdout and "replay --reset needs TRUNCATE on atom, " in checked.stdout
    with pipeline.connect() as connection:
        connection.execute("GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO pipeline_ingest; REVOKE TRUNCATE ON vault_outbox FROM pipeline_ingest")
    done = pipeline.run("ingest", "replay", "--reset", **as_role(pipeline, "ingest"))
    assert done.returncode == 1 and "permission denied" in done.stderr and "nothing was changed" in done.stderr, done.stderr
    assert "TRUNCATE on vault_outbox:" in done.stderr
    with pipeline.connect() as connection:
        connection.execute("GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO pipeline_ingest")
    assert pipeline.run("ingest", "replay", "--reset", **as_role(pipeline, "ingest")).returncode == 0


@pytest.mark.parametrize("name, table", [("ingest", "term_outbox"), ("ingest", "reorgs"), ("cascade", "vault"), ("analytics", "subject_predicate")])
def test_check_names_a_right_that_is_missing(granted, name, table):
    assert granted.run(name, "check", **as_role(granted, name)).returncode == 0
    with granted.connect() as connection:
        connection.execute(f"REVOKE INSERT ON {table} FROM pipeline_{name}")
    done = granted.run(name, "check", **as_role(granted, name))
    assert done.returncode == 1 and f" ON {table} TO pipeline_{name}" in done.stdout, done.stdout


def test_without_temporary_tables(granted, small, make_node):
    """check says so, and each command that needs them, before it does anything; those that do not need them work."""
    pipeline, node = granted, make_node(Chain.of(small))
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute(f'REVOKE TEMPORARY ON DATABASE "{pipeline.database}" FROM pipeline_ingest, pipeline_cascade, pipeline_analytics')
    for command in (["verify"], ["rebuild"], ["replay"], ["replay", "--reset"], ["reconcile"]):
        done = pipeline.run("ingest", *command, RPC_URL=node.url, **as_role(pipeline, "ingest"))
        assert done.returncode == 1 and done.stdout == "", command
        assert "permission denied, nothing was changed" in done.stderr and f"GRANT TEMPORARY ON DATABASE {pipeline.database} TO pipeline_ingest" in done.stderr
    done = pipeline.run("ingest", "check", **as_role(pipeline, "ingest"))
    assert done.returncode == 1 and "FAIL  program privileges" in done.stdout
    for name in ("cascade", "analytics"):
        for command in ("verify", "rebuild"):
            assert pipeline.run(name, command, **as_role(pipeline, name)).returncode == 0, (name, command)


def test_reconciling_under_its_role(granted, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    pipeline = granted.listen_to(small)
    pipeline.start("ingest", RPC_URL=node.url, RECONCILE_INTERVAL_MS=200, **as_role(pipeline, "ingest"))
    pipeline.start("cascade", "analytics")
    now = int(time.time() + 3600) * 1000   # ids ahead of the clock have rows of their own
    pipeline.feed([replace(m, id=f"{now}-{i + 1}") for i, m in enumerate(small[::2])])
    wait_for_chain(pipeline, chain)


LIMITS = {"statement_timeout": "60ms", "lock_timeout": "30ms", "idle_in_transaction_session_timeout": "60ms", "idle_session_timeout": "300ms",
          "transaction_timeout": "150ms", "quote_all_identifiers": "on"}


def test_limits_of_the_role_do_not_reach_long_work(pipeline, recording):
    """They are meant for people's queries. The services go on, and commands come to their end."""
    pipeline.listen_to(recording).start()
    pipeline.feed(recording)
    pipeline.drain()
    with pipeline.connect() as connection:
        known = {row[0] for row in connection.execute("SELECT name FROM pg_settings").fetchall()}
        for name in LIMITS.keys() & known:
            connection.execute(f'ALTER DATABASE "{pipeline.database}" SET {name} = \'{LIMITS[name]}\'')
    for name in SERVICES:
        for command in ("verify", "rebuild"):
            done = pipeline.run(name, command)
            assert done.returncode == 0, f"{name} {command}\n{done.stdout}\n{done.stderr}"
    done = pipeline.run("ingest", "replay", "--reset")
    assert done.returncode == 0, done.stderr
    pipeline.feed(feeds.new_ids(recording[:200]))
    with pipeline.connect() as connection:   # the oracle has no other limits than people's queries
        connection.execute(f'ALTER DATABASE "{pipeline.database}" RESET ALL')
    pipeline.drain().assert_exact()


WITHOUT_TRIGGERS = {   # how, how back, what the message names
    "session_replication_role": ('ALTER DATABASE "{0}" SET session_replication_role = replica', 'ALTER DATABASE "{0}" RESET session_replication_role',
                                 "session_replication_role"),
    "all of a table": ("ALTER TABLE deposited_events DISABLE TRIGGER ALL", "ALTER TABLE deposited_events ENABLE TRIGGER ALL",
                       "ALTER TABLE deposited_events ENABLE TRIGGER inserted"),
    "one": ("ALTER TABLE triple DISABLE TRIGGER gone", "ALTER TABLE triple ENABLE TRIGGER gone", "ALTER TABLE triple ENABLE TRIGGER gone"),
}


@pytest.mark.parametrize("off, on, named", WITHOUT_TRIGGERS.values(), ids=WITHOUT_TRIGGERS)
def test_a_database_without_triggers_is_not_used(pipeline, small, off, on, named):
    """As tools for copying databases leave it, pg_restore --disable-triggers among them: events would be stored, and nothing above them."""
    pipeline.migrate().listen_to(small)
    with pipeline.connect() as connection:
        connection.execute(off.format(pipeline.database))
        for name, command in (("ingest", "check"), ("ingest", "verify"), ("cascade", "rebuild")):
            done = pipeline.run(name, command)
            assert done.returncode == 1 and named in done.stdout + done.stderr, done.stdout + done.stderr
            assert "version 0" not in done.stdout
        pipeline.feed(small)
        services = pipeline.start()
        services[0].says(f"for=schema reason=.*{named}")
        connection.execute(on.format(pipeline.database))
    pipeline.drain().assert_exact()


def test_a_trigger_of_a_user_may_be_disabled(pipeline, small):
    pipeline.migrate().listen_to(small)
    with pipeline.connect() as connection:
        connection.execute("CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        connection.execute("CREATE TRIGGER mine AFTER INSERT ON deposited_events FOR EACH STATEMENT EXECUTE FUNCTION mine()")
        connection.execute("ALTER TABLE deposited_events DISABLE TRIGGER mine")
        connection.execute("CREATE TABLE theirs (n INT); CREATE FUNCTION notify_events_changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        connection.execute("CREATE TRIGGER mine AFTER INSERT ON theirs FOR EACH STATEMENT EXECUTE FUNCTION notify_events_changed()")
        connection.execute("ALTER TABLE theirs DISABLE TRIGGER mine")
    assert pipeline.run("ingest", "check").returncode == 0
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_rows_written_from_another_schema(pipeline):
    """A statement by hand whose search_path is another schema's, with tables of the same names; and one without any, as pg_restore has it."""
    pipeline.streams = [STREAM]
    pipeline.start("ingest")
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        for table in ("position", "vault", "vault_outbox", "atom", "reorgs"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS other; CREATE TABLE other.{table} (LIKE public.{table})")
        for n, path in ((2, "other"), (3, "")):
            connection.execute("SELECT set_config('search_path', %s, false)", (path,))
            connection.execute("""INSERT INTO public.deposited_events SELECT (jsonb_populate_record(d, jsonb_build_object('log_index', %s::int, 'receiver',
                                  'r' || %s::text))).* FROM public.deposited_events d WHERE log_index = 1""", (n, n))
            assert connection.execute("SELECT count(*) FROM public.position").fetchone() == (n,)
            assert connection.execute("SELECT count(*) FROM other.position").fetchone() == (0,)


def statement(path, *values):
    text = (PROJECT / f"{path}.sql").read_text()
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", f"'{value}'")
    return text


def test_pipelines_in_two_schemas_of_one_database(make_pipeline):
    """Each works in its own, whose name may need quotes, and no lock that one holds is one to the other."""
    first = make_pipeline().migrate()
    first.streams = [STREAM]
    with first.connect() as connection:
        connection.execute('CREATE SCHEMA "Second"')
    options = {"DATABASE_URL": first.postgres_server.url(first.database) + "?options=-csearch_path%3D%22Second%22", "CONSUMER_GROUP_SUFFIX": "second"}
    with first.connect() as holder, first.connect() as watcher:
        holder.autocommit = False
        holder.execute(statement("migrations/sql/00_schema_lock"))
        holder.execute("SELECT event_lock(true)")
        holder.execute(statement("cascade/sql/30_bucket_lock", "{%s}" % ",".join(map(str, range(64)))))
        for name in ("cascade", "analytics"):
            assert holder.execute(statement("common/sql/00_backfill_lock", name)).fetchall()

        def seen(query, expected, what):
            until(lambda: watcher.execute(query).fetchone()[0] == expected, what, alive=first.services)
        first.start("ingest", **options)
        seen("""SELECT to_regclass('"Second".schema_migrations') IS NOT NULL""", True, "it has migrated")
        first.start("cascade", "analytics", BACKFILL_INTERVAL_MS=300, **options)
        first.feed([deposits(deposit(1)), notice(5, 1), deposits(deposit(2, number=3, hash_=3, term=2))])
        first.redis().xgroup_create(STREAM, first.group, id="$")
        seen('SELECT count(*) FROM "Second".orphaned_events', 1, "it has handled the notice")
        seen('SELECT sum(position_count) FROM "Second".vault', 1, "cascade has counted")
        watcher.execute(f"""INSERT INTO "Second".vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
                            VALUES (0, ARRAY['{id32(2)}'], ARRAY[NULL], ARRAY[0], 0)""")
        seen('SELECT count(*) FROM "Second".vault_outbox', 0, "cascade has found what nobody queued")
        for name in SERVICES:
            done = first.run(name, "check", **options)
            assert done.returncode == 0 and "table privileges" in done.stdout, done.stdout + done.stderr
        assert watcher.execute("SELECT count(*) FROM public.orphaned_events").fetchone() == (0,)


def test_row_level_security_is_no_empty_table(granted, small):
    """Rows that a policy hides would not be worked on, and verify would see nothing wrong: check and the service say so instead."""
    pipeline = granted
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE vault_outbox ENABLE ROW LEVEL SECURITY; ALTER TABLE pipeline_stream ENABLE ROW LEVEL SECURITY")
    pipeline.listen_to(small).start("ingest", "analytics")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    for command in ("check", "verify", "rebuild"):
        done = pipeline.run("cascade", command, **as_role(pipeline, "cascade"))
        assert done.returncode == 1 and "row level security hides rows of vault_outbox from role pipeline_cascade" in done.stdout + done.stderr, command
    cascade = pipeline.start("cascade", **as_role(pipeline, "cascade"))
    cascade.says("row level security hides rows of vault_outbox")
    assert cascade.get("/readyz")[0] == 503
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE vault_outbox DISABLE ROW LEVEL SECURITY")
    pipeline.drain().assert_exact()


def test_a_schema_that_may_not_be_used(granted):
    with granted.connect() as connection:
        connection.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC; REVOKE USAGE ON SCHEMA public FROM pipeline_cascade")
    done = granted.run("cascade", "check", **as_role(granted, "cascade"))
    assert done.returncode == 1 and "no schema is there that role pipeline_cascade may use" in done.stdout, done.stdout


def test_functions_that_not_everybody_may_call(granted, recording):
    """ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC is a usual hardening: the file of grants gives what that took, and check sees it."""
    pipeline = granted
    with pipeline.connect() as connection:
        connection.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    pipeline.listen_to(recording)
    for name in SERVICES:
        assert pipeline.run(name, "check", **as_role(pipeline, name)).returncode == 0
        pipeline.start(name, **as_role(pipeline, name))
    pipeline.feed(recording[:200])
    pipeline.drain()
    for name in SERVICES:
        for command in ("verify", "rebuild"):
            done = pipeline.run(name, command, **as_role(pipeline, name))
            assert done.returncode == 0, f"{name} {command}\n{done.stdout}\n{done.stderr}"
    with pipeline.connect() as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION vault_market_cap FROM pipeline_ingest")
    done = pipeline.run("ingest", "check", **as_role(pipeline, "ingest"))
    assert done.returncode == 1 and "the right to call is missing on vault_market_cap: GRANT EXECUTE" in done.stdout, done.stdout
