"""Reorgs: which events are live is a function of the set of entries and their positions, whatever the order of handling."""
import random
from dataclasses import replace

import pytest

import feeds
import oracle
from branches import Branches


def assert_reorged(pipeline):
    """All tables as the oracle says, every event in exactly one place, every notice kept."""
    pipeline.assert_exact()
    expected = oracle.compute(pipeline.entries)
    with pipeline.connect() as connection:
        orphaned = set(connection.execute("SELECT source_table, transaction_hash, log_index, block_hash FROM orphaned_events").fetchall())
        notices = connection.execute("SELECT count(*) FROM reorgs").fetchone()[0]
        odd = connection.execute("SELECT count(*) FROM orphaned_events WHERE (reason = 'reorg') <> (notice IS NOT NULL)").fetchone()[0]
    assert orphaned == set(expected.orphaned)
    assert notices == len(expected.notices)
    assert not odd, f"{odd} rows do not say which notice took them away"
    pipeline.assert_settled()
    return expected


def park(pipeline, share, rng):
    """Another consumer takes some entries and dies: they are handled late, after what came behind them."""
    client = pipeline.redis()
    for stream in pipeline.streams:
        client.xgroup_create(stream, pipeline.group, id="0", mkstream=True)
        for id_, _ in client.xrange(stream):
            got = client.xreadgroup(pipeline.group, "dead" if rng.random() < share else "late", {stream: ">"}, count=1)
            assert got and got[0][1][0][0] == id_


@pytest.fixture(scope="module")
def reorg():
    return feeds.load("reorg.jsonl.xz")


def test_the_recorded_reorg(pipeline, reorg):
    pipeline.listen_to(reorg).start()
    pipeline.feed(reorg)
    expected = assert_reorged(pipeline.drain())
    assert sum(len(rows) for name, rows in expected.tables.items() if name in oracle.EVENT_TABLES) == 1336
    pipeline.assert_verified()


@pytest.mark.parametrize("round_", range(3))
def test_the_recorded_reorg_in_any_order_of_handling(pipeline, reorg, seed, round_):
    rng = random.Random(f"{seed}-{round_}")
    pipeline.listen_to(reorg)
    pipeline.feed(reorg)
    park(pipeline, 0.3, rng)
    pipeline.start_two(rng)
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()


@pytest.mark.parametrize("round_", range(4))
def test_generated_reorgs(pipeline, seed, round_):
    rng = random.Random(f"{seed}-{round_}")
    streams = ["one"] if round_ % 2 else ["a", "b", "c", "d", "e"]
    messages = Branches(f"{seed}-{round_}", streams).run()
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    if round_ >= 2:
        park(pipeline, 0.4, rng)
    pipeline.start_two(rng)
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()


@pytest.mark.parametrize("round_", range(4))
def test_generated_events_come_by_several_streams(pipeline, seed, round_):
    """An event may stand in two streams, of which one has heard of a reorg (streams were split, or joined): it is live if one of them says so."""
    rng = random.Random(f"{seed}-{round_}-several")
    messages = Branches(f"{seed}-{round_}-several", ["a", "b", "c"]).run()
    messages = [m for m in messages if m.name != "__rindexer_reorg" or rng.random() < 0.6]
    again = []
    for neighbour in messages:   # its id is free in the other streams
        stream, message = rng.choice("abc"), rng.choice(messages)
        if stream != neighbour.stream and message.name != "__rindexer_reorg" and rng.random() < 0.6:
            again.append((neighbour, replace(message, stream=stream, id=neighbour.id)))
    for neighbour, message in again:
        messages.insert(messages.index(neighbour) + 1, message)
    pipeline.listen_to(messages)
    if round_ % 2:   # one after the other, so that what each step leaves behind is what the next one finds
        pipeline.start(WORKERS=1, BATCH_MAX_EVENTS=1)
        pipeline.feed(messages)
    else:
        pipeline.feed(messages)
        pipeline.start_two(rng)
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()


def test_enrichment_survives(pipeline, reorg):
    """What others filled in of an atom is there again when a branch returns."""
    pipeline.listen_to([feeds.Message("s", "AtomCreated", ())]).start()
    atom = next(m for m in reorg if m.name == "AtomCreated" and m.events)
    event = atom.events[0]
    about = event["transaction_information"]
    number = int(str(about["block_number"]), 0)

    def step(message):
        pipeline.feed([message])
        pipeline.drain()
    created = feeds.Message("s", "AtomCreated", (event,))
    notice = {"type": "reorg", "network": about["network"], "fork_block": number, "events_deleted": 0, "affected_tx_hashes": [], "affected_events": []}
    step(created)
    with pipeline.connect() as connection:
        connection.execute("UPDATE atom SET label = 'kept', resolving_status = 'Resolved'")
        connection.commit()
        step(feeds.Message("s", "__rindexer_reorg", ({**notice, "depth": 1},)))
        assert connection.execute("SELECT count(*) FROM atom").fetchone()[0] == 0
        connection.commit()
        step(feeds.Message("s", "__rindexer_reorg", ({**notice, "depth": 2},)))
        step(created)
        assert connection.execute("SELECT label, resolving_status FROM atom").fetchone() == ("kept", "Resolved")
    enrichment = [d for d in pipeline.differences() if d.column not in ("label", "resolving_status")]
    assert not enrichment
