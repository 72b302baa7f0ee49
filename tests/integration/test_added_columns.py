"""Columns that a user adds to our tables are the user's: nothing writes them, nothing compares them, and no event is lost for them."""
import json

import pytest

import feeds
from node import Chain
from programs import SERVICES

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
