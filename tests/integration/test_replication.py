"""Logical replication: a publication of all tables, and a move to another server by it, as deploy/operations.md says."""
from dataclasses import replace
from pathlib import Path

import pytest

import feeds
from servers import PostgresServer
from test_documents import blocks, environment, shell
from waiting import until


@pytest.fixture
def make_server(server_folder, own_servers):
    def make():
        own_servers.append(PostgresServer(server_folder, settings={"wal_level": "logical", "max_wal_senders": "10"}, own_identity=True))
        return own_servers[-1].start()
    return make


def test_a_move_by_logical_replication(make_pipeline, make_server, tmp_path):
    """With reorgs before, meanwhile and afterwards."""
    old, new = make_server(), make_server()
    if not (Path(old.programs) / "pg_dump").exists():
        pytest.skip(f"no pg_dump in {old.programs}")
    reorg = [replace(message, id=None) for message in feeds.load("reorg.jsonl.xz")]
    third = len(reorg) // 3
    pipeline = make_pipeline(postgres=old).listen_to(reorg)
    new.create_database(pipeline.database)
    urls = {"OLD_URL": old.url(pipeline.database), "NEW_URL": new.url(pipeline.database)}
    begin, copied, arrived, end = [block for block, _ in blocks("deploy/operations.md", "sh") if "_URL" in block and "backup" not in block]

    def run(block):
        return shell(block, environment(pipeline, tmp_path, **urls), tmp_path).strip()
    services = pipeline.start()
    pipeline.feed(reorg[:third])
    until(pipeline.drained(), "the first third is through", alive=services)
    run(begin)
    until(lambda: run(copied) == "0", "the tables are copied", alive=services)
    pipeline.feed(reorg[third:2 * third])
    until(pipeline.drained(), "the second third is through", alive=services)
    pipeline.stop()
    until(lambda: run(arrived) == "t", "all has arrived")
    run(end)
    pipeline.postgres_server = new
    pipeline.start()
    pipeline.feed(reorg[2 * third:])
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_check_names_a_table_without_a_replica_identity(pipeline):
    pipeline.migrate()
    assert "all tables have one" in pipeline.run("cascade", "check").stdout
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE vault_outbox REPLICA IDENTITY DEFAULT; CREATE TABLE of_somebody (n INT)")
    done = pipeline.run("cascade", "check")
    assert done.returncode == 0 and "missing on of_somebody, vault_outbox" in done.stdout, done.stdout
