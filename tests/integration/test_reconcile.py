"""`ingest reconcile` and the service's reconciling: after any loss at the source the tables equal the chain."""
import json
import random

import pytest

import feeds
import oracle
from branches import Branches
from node import Chain, Node, as_entries
from test_reorgs import park


@pytest.fixture
def make_node():
    nodes = []

    def make(chain):
        nodes.append(Node(chain))
        return nodes[-1]
    yield make
    for node in nodes:
        node.close()


@pytest.fixture(scope="module")
def reorg():
    return feeds.load("reorg.jsonl.xz")


@pytest.fixture(scope="module")
def canonical():
    return Chain.recorded("reorg.logs.jsonl.xz")


def reconcile(pipeline, node, *arguments, code=0, **settings):
    done = pipeline.run("ingest", "reconcile", *arguments, **{"RPC_URL": node.url, **settings})
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def assert_equals_chain(pipeline, chain):
    """Every table as the oracle has it for the chain's own events, and nothing of it in dispute."""
    with pipeline.connect() as connection:
        differences = oracle.compare(connection, as_entries(chain.events()))
    assert not differences, oracle.report(differences)
    assert not pipeline.dead_letters() and pipeline.deadlocks() == 0
    pipeline.assert_verified()


def test_the_recorded_reorg(pipeline, reorg, canonical, make_node):
    node = make_node(canonical)
    pipeline.listen_to(reorg).start()
    pipeline.feed(reorg)
    pipeline.drain()
    checked = reconcile(pipeline, node, "--check", code=1)
    # rindexer gave nine events of a new branch the time of the old branch's block
    assert checked.stdout.endswith("blocks 0 to 82: 202 events missing, 0 rows not on the chain, 9 different\n")
    assert len(checked.stdout.splitlines()) == 202 + 9 + 1
    reconcile(pipeline, node)
    pipeline.drain()
    assert_equals_chain(pipeline, canonical)
    reconcile(pipeline, node, "--check")
    with pipeline.connect() as connection:
        assert not oracle.compare_truth(connection, feeds.load_truth("reorg.truth.json.xz"))


# ---------------------------------------------------------------- the law: a function of the set of sightings, notices and verdicts


ABOUT = ("transaction_hash", "log_index", "address", "block_hash", "block_number", "network", "transaction_index")


def made_verdicts(messages, rng, count=14):
    """Verdicts on the feed's blocks, at moments among its entries: on the chain, with some of its events; not on it; events not in it."""
    blocks, moments = {}, sorted({int(m.id.split("-")[0]) for m in messages})
    for stream, _, payload in feeds.as_entries(messages):
        for table, row in oracle.read_message(payload).rows:
            blocks.setdefault((row["block_number"], row["block_hash"]), {})[table, row["transaction_hash"], row["log_index"]] = row
    verdicts = []
    for moment in rng.sample(range(moments[0], moments[-1] + 5000), count):
        block = rng.choice(sorted(blocks))
        events = [(key, row) for key, row in sorted(blocks[block].items()) if rng.random() < 0.5]
        kind = rng.choice(["live", "live", "dead", "absent"])
        if kind == "live" and events:
            verdicts.append(oracle.Verdict(*block, True, moment, tuple((key[0], dict(row)) for key, row in events)))
        elif kind == "dead":
            verdicts.append(oracle.Verdict(*block, False, moment))
        elif events:
            verdicts.append(oracle.Verdict(*block, None, moment, (), tuple(key for key, _ in events[:2])))
    return verdicts


def write_verdict(connection, verdict):
    """As `ingest reconcile` does."""
    rows = []
    for table, row in verdict.rows:
        own = {name: value for name, value in row.items() if name not in (*ABOUT, "block_timestamp")}
        own["raw_data"] = "\\x" + own["raw_data"].hex() if own.get("raw_data") is not None else None
        time = None if row["block_timestamp"] is None else row["block_timestamp"] // 1_000_000
        rows.append(connection.execute("SELECT event_row(%s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s)",
                                       [json.dumps(own), *(row[name] for name in ABOUT), time]).fetchone()[0])
    dead, absent, block = verdict.live is False, verdict.absent, [verdict.block_number, verdict.block_hash]
    with connection.transaction():
        connection.execute("SELECT event_lock(true)")
        connection.execute(
            "SELECT count(*) FROM chain_settle(%s, %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[],"
            " %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[]::jsonb[])",
            [verdict.milliseconds, block[:1] if dead else [], block[1:] if dead else [],
             *([key[i] for key in absent] for i in range(3)), block[:1] * len(absent), block[1:] * len(absent),
             [table for table, _ in verdict.rows], [row["transaction_hash"] for _, row in verdict.rows], [row["log_index"] for _, row in verdict.rows],
             block[:1] * len(rows), block[1:] * len(rows), [json.dumps(row) for row in rows]])


def assert_law(pipeline, verdicts):
    pipeline.assert_exact(verdicts=verdicts)
    expected = oracle.compute(pipeline.entries, verdicts=verdicts)
    with pipeline.connect() as connection:
        orphaned = set(connection.execute("SELECT source_table, transaction_hash, log_index, block_hash FROM orphaned_events").fetchall())
    assert orphaned == set(expected.orphaned)
    pipeline.assert_verified()


@pytest.mark.parametrize("round_", range(4))
def test_verdicts_among_generated_reorgs(pipeline, seed, round_):
    """Whatever is handled first: entries late and in any order, verdicts before and after what they are about."""
    rng = random.Random(f"{seed}-{round_}-verdicts")
    messages = Branches(f"{seed}-{round_}-verdicts", ["one"] if round_ == 1 else ["a", "b", "c"]).run(doubled=0.1)
    verdicts = made_verdicts(messages, rng)
    messages = [m for m in messages if m.name == "__rindexer_reorg" or rng.random() < 0.8]   # what is lost only the chain has
    pipeline.migrate().listen_to(messages)
    half = rng.randrange(len(messages))
    pipeline.feed(messages[:half])
    if round_ >= 2:
        park(pipeline, 0.4, rng)
    for _ in range(2):
        pipeline.start(WORKERS=4, BATCH_SIZE=rng.choice([1, 10]), BATCH_MAX_EVENTS=rng.choice([1, 20, 2000]), CLAIM_IDLE_MS=rng.choice([1, 200]),
                       BACKFILL_INTERVAL_MS=200)   # the keys of verdicts that are written here are in the outbox only
    order = rng.sample(verdicts, len(verdicts))
    with pipeline.connect() as connection:
        connection.execute("SET jit = off")   # as the programs do
        for verdict in order[:len(order) // 2]:
            write_verdict(connection, verdict)
        pipeline.feed(messages[half:])
        for verdict in order[len(order) // 2:]:
            write_verdict(connection, verdict)
    pipeline.drain()
    assert_law(pipeline, verdicts)
