"""The commands: help, version, check, migrate. Data on stdout, messages on stderr, exit codes 0, 1, 2."""
import json

import pytest

import feeds
import oracle
from programs import SERVICES
from settings_table import variables


@pytest.mark.parametrize("name", SERVICES)
def test_help(pipeline, name):
    done = pipeline.run(name, "--help", BATCH_SIZE=137)
    assert done.returncode == 0 and done.stderr == ""
    assert [variable for variable in variables(name) if variable not in done.stdout] == []
    assert "137" in done.stdout, "the effective values"
    assert "xample" in done.stdout and done.stdout.index("xample") < done.stdout.index("BATCH_SIZE"), "examples first"
    for command in ("check [--json]", "verify [--sample N] [--json]", "rebuild", "status [--watch] [--json]"):
        assert f"\n  {command}" in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_help_needs_no_configuration(pipeline, name):
    done = pipeline.run(name, "--help", DATABASE_URL=None, WORKERS="none")
    assert done.returncode == 0 and "DATABASE_URL" in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_version(pipeline, name):
    done = pipeline.run(name, "--version", DATABASE_URL=None)
    assert done.returncode == 0 and any(c.isdigit() for c in done.stdout) and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("arguments", [("unheard-of",), ("--unheard-of",), ("verify", "--sample"), ("verify", "--sample", "some"),
                                       ("check", "more"), ("migrate", "--unheard-of"), ("--sample=5",)])
def test_bad_usage(pipeline, name, arguments):
    done = pipeline.run(name, *arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_check(pipeline, name):
    before = pipeline.run(name, "check")
    assert before.returncode == 1, "there is no schema yet"
    pipeline.migrate()
    after = pipeline.run(name, "check")
    assert after.returncode == 0, after.stdout + after.stderr
    assert len(after.stdout.splitlines()) >= 8, "one line each"
    for word in ("redis", "postgres", "utf8", "schema", "evict", "persist", "group", "clock"):
        assert word in after.stdout.lower(), word


@pytest.mark.parametrize("name", SERVICES)
def test_check_without_servers(pipeline, name):
    done = pipeline.run(name, "check", REDIS_URL="redis://127.0.0.1:1", DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert done.returncode == 1 and "redis" in done.stdout.lower() and "postgres" in done.stdout.lower()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_check_refuses_another_encoding(make_pipeline, encoding):
    pipeline = make_pipeline(database=False).create_database(encoding=encoding)
    done = pipeline.run("ingest", "check")
    assert done.returncode == 1 and f"{encoding}: make the database" in done.stdout


def tables_of(pipeline):
    with pipeline.connect() as connection:
        return {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_migrate(pipeline):
    def listed():
        return {one["name"]: one["applied"] for one in json.loads(pipeline.run("ingest", "migrate", "--status", "--json").stdout)}
    status = pipeline.run("ingest", "migrate", "--status")
    assert status.returncode in (0, 1) and tables_of(pipeline) <= {"schema_migrations"}, "--status changes nothing"
    assert set(listed().values()) == {False} and "0010_events" in listed()
    for _ in range(2):
        assert pipeline.run("ingest", "migrate").returncode == 0
    assert tables_of(pipeline) >= {*oracle.TABLES, "schema_migrations", "reorgs", "orphaned_events", "vault_outbox", "term_outbox"}
    status = pipeline.run("ingest", "migrate", "--status")
    assert status.returncode == 0 and [line.split() for line in status.stdout.splitlines()] == [["applied", name] for name in listed()]
    assert set(listed().values()) == {True}


def test_migrate_refuses_a_foreign_database(pipeline):
    with pipeline.connect() as connection:
        connection.execute("CREATE TABLE position (id int)")
    for arguments in (("migrate",), ("check",)):
        done = pipeline.run("ingest", *arguments)
        assert done.returncode == 1, arguments
    assert "position" in pipeline.run("ingest", "migrate").stderr
    service = pipeline.start("ingest")
    service.may_end()   # it waits or stops
    service.says("position|schema_migrations")
    assert tables_of(pipeline) == {"position"} and service.code() != 0


@pytest.mark.parametrize("name", SERVICES)
def test_verify_without_a_schema(pipeline, name):
    done = pipeline.run(name, "verify")
    assert done.returncode == 1 and done.stdout.strip() + done.stderr.strip()


@pytest.mark.parametrize("name", SERVICES)
def test_verify_a_sample_and_json(pipeline, small, name):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    assert pipeline.run(name, "verify", "--sample", "10").returncode == 0
    done = pipeline.run(name, "verify", "--json")
    assert done.returncode == 0
    for line in done.stdout.splitlines():
        json.loads(line)


_TYPES = {"text": {"text", "character varying"}, "bytes": {"bytea"}, "json": {"jsonb"}, "time": {"timestamp with time zone"},
          "int": {"numeric", "bigint", "integer"}}


def test_names_and_types_of_columns(pipeline):
    """What users and dashboards rely on."""
    pipeline.migrate()
    with pipeline.connect() as connection:
        found = {(table, column): kind for table, column, kind in connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'")}
    for name, table in oracle.TABLES.items():
        for column, kind in table.columns.items():
            allowed = {"bigint"} if column in ("block_number", "log_index", "transaction_index") or column.startswith("last_event_") else \
                {"smallint"} if (name, column) != ("vault", "vault_type") and column == "vault_type" else _TYPES[kind]
            assert found.get((name, column)) in allowed, f"{name}.{column} is {found.get((name, column))}"
    for name in oracle.EVENT_TABLES:
        assert found[name, "created_at"] == "timestamp with time zone"


_INDEXED = {
    "atom_created_events": ("term_id", "creator"),
    "triple_created_events": ("term_id", "creator", "subject_id", "predicate_id", "object_id"),
    "deposited_events": ("term_id", "receiver", "sender"),
    "redeemed_events": ("term_id", "receiver", "sender"),
    "share_price_changed_events": ("term_id",),
    "generic_events": (),
}


def test_what_users_ask_for_is_indexed(pipeline):
    pipeline.migrate()
    with pipeline.connect() as connection:
        leading = set(connection.execute("""
            SELECT table_.relname, column_.attname
            FROM pg_index
            JOIN pg_class table_ ON table_.oid = indrelid
            JOIN pg_attribute column_ ON column_.attrelid = indrelid AND column_.attnum = indkey[0]
        """).fetchall())
    for name, columns in _INDEXED.items():
        for column in (*columns, "block_number", "block_timestamp"):
            assert (name, column) in leading, f"no index on {name}.{column}"


def lines_of(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_changes_something_speaks_json_too(make_pipeline, small):
    """A line for each thing done, and a last one that says whether all was."""
    pipeline = make_pipeline().listen_to(small)
    applied = lines_of(pipeline.run("ingest", "migrate", "--json"))
    assert [line["applied"] for line in applied[:2]] == ["0010_events", "0011_chain"]
    assert applied[-1] == {"program": "ingest", "done": True, "version": int(applied[-2]["applied"][:4])}
    assert lines_of(pipeline.run("ingest", "migrate", "--json")) == applied[-1:]
    pipeline.start()
    pipeline.feed([*small, feeds.Message(small[0].stream, "", (), raw="no json")])
    pipeline.drain()
    for name, tables in (("ingest", {"deposited_events", "orphaned_events", "vault"}), ("cascade", {"term, vault"}),
                         ("analytics", {"triple_vault, triple_term", "predicate_object", "subject_predicate"})):
        *rows, end = lines_of(pipeline.run(name, "rebuild", "--json"))
        assert end == {"program": name, "done": True} and {row["table"] for row in rows} >= tables
        assert all(type(row["rows"]) is int and row["what"] for row in rows)
    assert lines_of(pipeline.run("ingest", "replay", "--json")) == [{"program": "ingest", "done": True, "not_storable": 1}]
    letter = pipeline.dead_letters()[0]["dead_letter_id"]
    stays, end = lines_of(pipeline.run("ingest", "dlq", "retry", letter, "--json"), 1)
    assert stays["stays"] == letter and "JSON" in stays["why"] and (end["done"], end["retried"]) == (False, 0)
    assert lines_of(pipeline.run("ingest", "dlq", "drop", "--all", "--json")) == [{"program": "ingest", "done": True, "dropped": 1}]
    away = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
    for command in (["migrate"], ["rebuild"], ["replay"], ["dlq", "drop", "--all"]):
        assert lines_of(pipeline.run("ingest", *command, "--json", **away), 1)[-1]["done"] is False
