"""Columns that a user adds to our tables are the user's: nothing writes them, nothing compares them, and no event is lost for them."""
import json

import pytest

import feeds
from node import Chain
from programs import SERVICES
from test_sequences import STREAM, deposit, deposits, notice

COLUMNS = {
    "text": "note text",
    "never null": "note text NOT NULL DEFAULT 'none'",
    "generated": "note text GENERATED ALWAYS AS (lower(network)) STORED",
    "identity": "note bigint GENERATED ALWAYS AS IDENTITY",
}
EVENTS = ("atom_created_events", "triple_created_events", "deposited_events", "redeemed_events", "share_price_changed_events", "generic_events")
ABOVE = ("atom", "triple", "position", "vault", "term", "triple_vault", "triple_term", "predicate_object", "subject_predicate", "orphaned_events",
         "reorgs", "vault_outbox", "term_outbox")


def add(pipeline, column, tables):
    with pipeline.connect() as connection:
        for table in tables:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def run(pipeline, name, *command, **settings):
    done = pipeline.run(name, *command, **settings)
    assert done.returncode == 0, (name, command, done.stdout[-2000:], done.stderr[-2000:])
    return done


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_columns_of_events(pipeline, make_node, column):
    """Through a reorg, both ways, rebuild, replay and reconciling."""
    reorg = feeds.load("reorg.jsonl.xz")
    node = make_node(Chain.recorded("reorg.logs.jsonl.xz"))
    pipeline.listen_to(reorg).migrate()
    add(pipeline, column, EVENTS)
    pipeline.start()
    pipeline.feed(reorg)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
    for name in SERVICES:
        run(pipeline, name, "rebuild")
    pipeline.drain().assert_exact()
    run(pipeline, "ingest", "replay", "--reset")
    pipeline.drain().assert_exact()
    run(pipeline, "ingest", "reconcile", RPC_URL=node.url)
    run(pipeline, "ingest", "reconcile", "--check", RPC_URL=node.url)
    pipeline.drain().assert_verified()


@pytest.mark.parametrize("column", ["note text", "note text NOT NULL DEFAULT 'none'", "note bigint GENERATED ALWAYS AS IDENTITY"])
def test_columns_of_all_else(pipeline, column):
    reorg = feeds.load("reorg.jsonl.xz")
    pipeline.listen_to(reorg).migrate()
    add(pipeline, column, ABOVE)
    pipeline.start()
    pipeline.feed(reorg)
    pipeline.drain().assert_exact()
    for name in SERVICES:
        run(pipeline, name, "rebuild")
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


@pytest.mark.parametrize("column", ["note text", "note text NOT NULL DEFAULT 'none'"])
def test_what_the_user_wrote_comes_back(pipeline, column):
    """With the row that a reorg took away; the default, where the row was never there."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    add(pipeline, column, EVENTS)
    pipeline.start()
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain()
    with pipeline.connect() as connection:
        assert connection.execute("UPDATE deposited_events SET note = 'booked'").rowcount == 1
        pipeline.feed([notice(1, 1)])
        pipeline.drain()
        assert connection.execute("SELECT count(*), min(event_row ->> 'note') FROM orphaned_events").fetchone() == (1, "booked")
        pipeline.feed([deposits(deposit(2)), notice(1, 2), deposits(deposit(1), deposit(2))])
        pipeline.drain().assert_exact()
        notes = [note for note, in connection.execute("SELECT note FROM deposited_events ORDER BY log_index")]
        assert notes == ["booked", "none" if "none" in column else None]
    pipeline.assert_verified()


def test_a_column_is_of_its_table_alone(pipeline, small, make_node):
    """One that is named as an event's column in another table: that one is compared as ever."""
    node = make_node(Chain.of(small))
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    add(pipeline, "assets text", ["share_price_changed_events"])
    with pipeline.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE deposited_events SET assets = '777' WHERE ctid = (SELECT min(ctid) FROM deposited_events)")
    assert pipeline.run("ingest", "reconcile", "--check", RPC_URL=node.url).returncode == 1
    run(pipeline, "ingest", "reconcile", RPC_URL=node.url)
    run(pipeline, "ingest", "reconcile", "--check", RPC_URL=node.url)
    pipeline.drain().assert_verified()


def test_what_the_user_wrote_stays(pipeline, small):
    """rebuild has nothing to mend, so it leaves every row alone; one that it mends keeps the user's part."""
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    add(pipeline, "note text", EVENTS)
    with pipeline.connect() as connection:
        rows = connection.execute("UPDATE deposited_events SET note = 'booked'").rowcount
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE deposited_events SET sender = receiver WHERE ctid = (SELECT min(ctid) FROM deposited_events WHERE sender <> receiver)")
    done = json.loads(run(pipeline, "ingest", "rebuild", "--json").stdout.splitlines()[-1])
    assert done["done"] is True
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events WHERE note = 'booked'").fetchone()[0] == rows
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
