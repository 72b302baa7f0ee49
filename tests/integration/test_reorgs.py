"""Reorgs: which events are live is a function of the set of entries and their positions, whatever the order of handling."""
import random
from dataclasses import replace

import pytest

import chain
import feeds
import oracle


def assert_reorged(pipeline):
    """All tables as the oracle says, every event in exactly one place, every notice kept."""
    pipeline.assert_exact()
    expected = oracle.compute(pipeline.entries)
    with pipeline.connect() as connection:
        orphaned = set(connection.execute("SELECT source_table, transaction_hash, log_index, block_hash FROM orphaned_events").fetchall())
        notices = connection.execute("SELECT count(*) FROM reorgs").fetchone()[0]
    assert orphaned == set(expected.orphaned)
    assert notices == len(expected.notices)
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
    for _ in range(2):
        pipeline.start(WORKERS=4, BATCH_SIZE=rng.choice([1, 3, 20]), BATCH_MAX_EVENTS=rng.choice([1, 50, 2000]), CLAIM_IDLE_MS=rng.choice([1, 300]))
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()


class Branches:
    """A chain that reorganises: every block has versions, transactions come again in other blocks, and the streams get what rindexer would
    send, and worse: stragglers, branches that come back, copies of notices with new events in between, nested notices."""

    def __init__(self, seed, streams):
        self.rng, self.streams = random.Random(seed), streams
        self.by_block = {}
        for name, event in chain.Chain(self.rng.randrange(10**9), blocks=20, per_block=12).events:
            if "#" in event:
                continue   # generic events are written word for word elsewhere
            number = int(str(event["transaction_information"]["block_number"]), 0)
            self.by_block.setdefault(number, []).append((name, event))
        self.numbers = sorted(self.by_block)
        self.messages = []

    def version(self, number, version):
        """A block's events in one of its versions: the same transactions, some in another block, another hash."""
        hash_ = "0x" + f"{number:032x}{version:032x}"
        moved = list(self.by_block[number])
        if version and self.rng.random() < 0.5:
            other = self.rng.choice(self.numbers)
            moved += self.by_block[other][:2]
        out = []
        for name, event in moved:
            about = {**event["transaction_information"], "block_hash": hash_, "block_number": number}
            out.append((name, {**event, "transaction_information": about}))
        return out

    def send(self, events):
        for name, event in events:
            stream = self.streams[len(name) % len(self.streams)]
            self.messages.append(feeds.Message(stream, name, (event,)))

    def notice(self, fork, depth, streams):
        event = {"type": "reorg", "network": chain.NETWORK, "fork_block": fork, "depth": depth, "events_deleted": 0,
                 "affected_tx_hashes": [], "affected_events": []}
        for stream in streams:
            self.messages.append(feeds.Message(stream, "__rindexer_reorg", (event,)))

    def run(self):
        rng, head = self.rng, {number: 0 for number in self.numbers}
        for at, number in enumerate(self.numbers):
            self.send(self.version(number, 0))
            if rng.random() < 0.25 and at > 2:
                depth = rng.choice([1, 2, 3, at])
                fork = self.numbers[max(0, at - depth + 1)]
                old = {n: v for n, v in head.items() if fork <= n <= number}
                for n in old:
                    head[n] = rng.choice([v for v in range(4) if v != head[n]])
                mark = len(self.messages)
                self.notice(fork, rng.choice([depth, depth + 1]), [s for s in self.streams for _ in range(rng.choice([1, 2, 5]))])
                for n, version in old.items():
                    if rng.random() < 0.3:
                        self.send(self.version(n, version)[:2])   # stragglers of the old branch
                for n in old:
                    if rng.random() < 0.85:
                        self.send(self.version(n, head[n]))
                tail = self.messages[mark:]
                rng.shuffle(tail)
                if rng.random() < 0.5:
                    self.messages[mark:] = tail
        now = 1_700_000_000_000
        for at, message in enumerate(self.messages):
            now += rng.choice([0, 1, 40, 3000]) if at else 0
            self.messages[at] = replace(message, id=f"{now}-{at}")
        return self.messages


@pytest.mark.parametrize("round_", range(4))
def test_generated_reorgs(pipeline, seed, round_):
    rng = random.Random(f"{seed}-{round_}")
    streams = ["one"] if round_ % 2 else ["a", "b", "c", "d", "e"]
    messages = Branches(f"{seed}-{round_}", streams).run()
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    if round_ >= 2:
        park(pipeline, 0.4, rng)
    for _ in range(2):
        pipeline.start(WORKERS=4, BATCH_SIZE=rng.choice([1, 10]), BATCH_MAX_EVENTS=rng.choice([1, 20, 2000]), CLAIM_IDLE_MS=rng.choice([1, 200]))
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
