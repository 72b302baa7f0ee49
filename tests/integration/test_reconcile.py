"""`ingest reconcile`: after any loss at the source the tables equal the chain; and the law that its verdicts follow. The service's own
reconciling: test_reconcile_service.py."""
import json
import random

import pytest

import feeds
import oracle
from branches import Branches
from node import CHAIN_ID, Chain, Refusal, as_entries, as_message, error, result
from test_reorgs import park


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


def assert_tables(pipeline, events, **which):
    with pipeline.connect() as connection:
        differences = oracle.compare(connection, as_entries(events), **which)
    assert not differences, oracle.report(differences)


def assert_equals_chain(pipeline, chain):
    """Every table as the oracle has it for the chain's own events, and nothing of it in dispute."""
    assert_tables(pipeline, chain.events())
    assert not pipeline.dead_letters() and pipeline.deadlocks() == 0
    pipeline.assert_verified()


def reconcile_to(pipeline, node, chain):
    """Afterwards the tables equal the chain, and so does all that follows from them."""
    reconcile(pipeline, node)
    pipeline.drain()
    assert_equals_chain(pipeline, chain)


def test_the_recorded_reorg(pipeline, reorg, canonical, make_node):
    node = make_node(canonical)
    pipeline.listen_to(reorg).start()
    pipeline.feed(reorg)
    pipeline.drain()
    checked = reconcile(pipeline, node, "--check", code=1)
    # rindexer gave nine events of a new branch the time of the old branch's block
    assert checked.stdout.endswith("blocks 0 to 82: 202 events missing, 0 rows not on the chain, 9 different\n")
    assert len(checked.stdout.splitlines()) == 202 + 9 + 1
    reconcile_to(pipeline, node, canonical)
    reconcile(pipeline, node, "--check")
    with pipeline.connect() as connection:
        assert not oracle.compare_truth(connection, feeds.load_truth("reorg.truth.json.xz"))


def counts(pipeline, table="orphaned_events", where="true"):
    with pipeline.connect() as connection:
        return connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]


def reasons(pipeline):
    with pipeline.connect() as connection:
        return dict(connection.execute("SELECT reason, count(*) FROM orphaned_events GROUP BY reason").fetchall())


def test_from_the_chain_alone_and_then_the_streams(make_pipeline, part, make_node):
    """What is decoded from logs equals what the producer writes, to the last byte; the streams then find it there."""
    chain = Chain.of(part)
    node = make_node(chain)
    pipeline = make_pipeline(NETWORK="intuition-testnet").listen_to(part).migrate()
    done = reconcile(pipeline, node, "--json", CONTRACT_ADDRESS=chain.contract.upper().replace("0X", "0x"))
    assert json.loads(done.stdout) == {"from_block": 0, "to_block": chain.head, "head_block": chain.head, "check": False,
                                       "missing": feeds.event_count(part), "not_on_chain": 0, "different": 0}
    assert node.calls["batch"] > 1 and node.calls["eth_getBlockByNumber"] > 100
    assert_tables(pipeline, chain.events(), tables=oracle.EVENT_TABLES)
    pipeline.start("ingest")
    pipeline.feed(part)
    pipeline.drain(["ingest"]).assert_exact(tables=oracle.EVENT_TABLES)
    done = pipeline.run("ingest", "verify")
    assert done.returncode == 0, done.stdout
    assert counts(pipeline) == 0
    assert counts(pipeline, "repeated_sightings") == feeds.event_count(part)


# ---------------------------------------------------------------- what stands and should not, what should and does not


def spoil(pipeline, contract):
    """Rows lost, changed, made up, of a block that is not on the chain; generic ones, of a block that is, and of one that is not."""
    copy = ("INSERT INTO {0} SELECT r.* FROM (SELECT * FROM {0} ORDER BY block_number, log_index LIMIT {1}) t CROSS JOIN LATERAL "
            "jsonb_populate_record(NULL::{0}, to_jsonb(t) || '{2}'::jsonb) r")
    with pipeline.connect() as connection:
        lost = connection.execute("DELETE FROM deposited_events WHERE log_index % 5 = 0").rowcount
        lost += connection.execute("DELETE FROM atom_created_events WHERE block_number = (SELECT min(block_number) FROM atom_created_events)").rowcount
        changed = connection.execute("UPDATE share_price_changed_events SET share_price = '7' WHERE log_index % 7 = 0").rowcount
        foreign = connection.execute(copy.format("deposited_events", 3, json.dumps({"transaction_hash": "0x" + "ab" * 32}))).rowcount
        foreign += connection.execute(copy.format("share_price_changed_events", 2, json.dumps(
            {"transaction_hash": "0x" + "cd" * 32, "block_hash": "0x" + "ee" * 32}))).rowcount
        for hash_, kept in (("'0x" + "ee" * 32 + "'", False), ("block_hash", True)):
            connection.execute(f"INSERT INTO generic_events SELECT transaction_hash, 900 + {int(kept)}, address, {hash_}, block_number, network, 0, NULL, "
                               "stream, 1, 1, 'Odd', '{}' FROM atom_created_events ORDER BY block_number DESC LIMIT 1")
    assert lost > 10 and changed > 10 and foreign == 5
    return lost, changed, foreign + 1


def test_lost_changed_and_foreign_rows(pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    pipeline.listen_to(small).start(BACKFILL_INTERVAL_MS=200)   # the tables are changed by hand, too
    pipeline.feed(small)
    pipeline.drain()
    reconcile(pipeline, node, "--check")
    lost, changed, gone = spoil(pipeline, chain.contract)
    node.batches = False
    done = reconcile(pipeline, node, "--check", "--json", code=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (lines[-1]["missing"], lines[-1]["different"], lines[-1]["not_on_chain"]) == (lost, changed, gone)
    assert len(lines) == lost + changed + gone + 1 and {line["table"] for line in lines[:-1]} >= {"generic_events", "deposited_events"}
    done = reconcile(pipeline, node)
    assert f"{lost} events inserted, {gone} rows orphaned, {changed} corrected" in done.stdout
    pipeline.drain()
    assert_tables(pipeline, chain.events(), tables=set(oracle.TABLES) - {"generic_events"})
    assert counts(pipeline, "generic_events") == 1 and reasons(pipeline) == {"not on chain": gone}
    pipeline.assert_verified()
    reconcile(pipeline, node, "--check")
    # whatever comes again, and whatever is mended from the streams, it stays so
    assert pipeline.run("ingest", "replay").returncode == 0
    assert pipeline.run("ingest", "rebuild").returncode == 0
    pipeline.drain()
    reconcile(pipeline, node, "--check")
    assert reasons(pipeline) == {"not on chain": gone}
    pipeline.assert_verified()
    assert pipeline.deadlocks() == 0


def test_a_range_of_blocks(pipeline, small, make_node):
    """What is outside of the range, or above the node's head, is left alone."""
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    first, last = numbers[3], numbers[-3]
    node = make_node(chain.until(numbers[-2]))
    pipeline.listen_to(small).start(BACKFILL_INTERVAL_MS=200)   # the tables are changed by hand, too
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("DELETE FROM share_price_changed_events")
    reconcile(pipeline, node, "--from-block", str(first), "--to-block", str(last))
    pipeline.drain()
    with pipeline.connect() as connection:
        found = connection.execute("SELECT min(block_number), max(block_number) FROM share_price_changed_events").fetchone()
    assert found == (first, last)
    done = reconcile(pipeline, node)
    assert counts(pipeline) == 0, "nothing is said of what is above the head"
    assert f"blocks 0 to {numbers[-2]}" in done.stdout
    done = reconcile(pipeline, node, "--to-block", str(numbers[-1]))
    assert "newest block" in done.stderr
    done = reconcile(pipeline, node, "--check", "--from-block", str(numbers[-1]), code=1)
    assert "nothing is compared" in done.stderr and done.stdout == ""


def notice(stream, fork, depth=1, id_=None, network="intuition-testnet"):
    about = {"type": "reorg", "network": network, "fork_block": fork, "depth": depth, "events_deleted": 0, "affected_tx_hashes": [], "affected_events": []}
    return feeds.Message(stream, "__rindexer_reorg", (about,), id_)


def test_a_notice_of_any_stream_ends_a_verdict_and_the_next_reconcile_decides(pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    streams = feeds.streams_of(small)
    prices = next(m.stream for m in small if m.name == "SharePriceChanged")
    pipeline.listen_to(small).start()
    pipeline.feed([m for m in small if m.name != "SharePriceChanged"])   # all prices are lost
    pipeline.drain()
    reconcile_to(pipeline, node, chain)
    stored = counts(pipeline, "share_price_changed_events", "stream = 'chain'")
    assert stored == sum(log["event"] == "SharePriceChanged" for log in chain.events())
    numbers = sorted({log["block_number"] for log in chain.events() if log["event"] == "SharePriceChanged"})
    fork = numbers[len(numbers) // 2]
    above = sum(log["event"] == "SharePriceChanged" and log["block_number"] >= fork for log in chain.events())
    # of a stream that has seen nothing of these blocks
    other = next(stream for stream in streams if stream != prices)
    for depth, expected in ((1, above), (2, above)):
        pipeline.feed([notice(other, fork, depth)])
        pipeline.drain()
        assert counts(pipeline, "orphaned_events", "source_table = 'share_price_changed_events' AND reason = 'reorg' AND notice IS NOT NULL") == expected
        pipeline.assert_verified()
        reconcile_to(pipeline, node, chain)
        assert counts(pipeline) == 0
    # one that stood before the verdict, but is handled only now, changes nothing
    with pipeline.connect() as connection:
        before = connection.execute("SELECT min(stream_ms) - 1 FROM chain_block").fetchone()[0]
    pipeline.feed([notice("late", fork, 3, f"{before}-0")])
    pipeline.listen_to([*small, notice("late", fork)])
    pipeline.start("ingest")
    pipeline.drain()
    assert counts(pipeline, "reorgs", "stream = 'late' AND counts") == 1
    assert_equals_chain(pipeline, chain)


def test_a_block_that_is_not_on_the_chain_stays_away_until_the_chain_has_it(pipeline, small, make_node):
    """Its events may stand when the verdict comes, or come later, by any stream."""
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    fork = numbers[len(numbers) // 2]
    branch = chain.moved(fork, "d1")
    node = make_node(branch)
    old = [m for m in small if feeds.block_of(m) >= fork]
    pipeline.listen_to([*small, notice("second", fork)]).start()
    pipeline.feed([m for m in small if feeds.block_of(m) < fork] + old[::2])
    pipeline.drain()
    reconcile_to(pipeline, node, branch)
    assert reasons(pipeline) == {"not on chain": feeds.event_count(old[::2])}
    late = [feeds.replace(m, id=None, stream="second") for m in old]
    pipeline.feed(late)
    pipeline.drain()
    seen = {feeds.block_of(m) for m in old[::2]}   # of the others the chain was not asked: nobody knew of them
    assert counts(pipeline, "event_standing", f"block_number IN ({','.join(map(str, seen))}) AND block_hash NOT LIKE '0xd1%'") == 0
    reconcile_to(pipeline, node, branch)
    node.chain = chain                           # and back: no notice says so, the chain does
    reconcile_to(pipeline, node, chain)
    assert set(reasons(pipeline)) == {"not on chain"}


@pytest.mark.parametrize("on_chain", [True, False])
@pytest.mark.parametrize("places", [(-3, -1), (-1, -3), (-2, -2, -1), (2, 0, -2)])
def test_what_is_superseded_by_a_version_that_is_not_on_the_chain(pipeline, small, make_node, places, on_chain):
    """When that goes the one before it comes to stand, and may not be on the chain either. One pass is enough, whichever of them is in its range."""
    message = next(m for m in reversed(small) if m.name == "Deposited" and len(m.events) == 1)
    event, number = message.events[0], feeds.block_of(message)
    others = [m for m in small if m is not message and feeds.block_of(m) != number]
    chain = Chain.of([*others, message] if on_chain else others)
    node = make_node(chain)
    pipeline.listen_to(small).start()
    pipeline.feed(others)
    about = event["transaction_information"]
    if on_chain:
        pipeline.feed([feeds.replace(message, id=None)])
        pipeline.drain()
    for i, place in enumerate(places):
        where = {**about, "block_number": number + place, "block_hash": f"0xdead{i:060x}"}
        pipeline.feed([feeds.Message(message.stream, "Deposited", ({**event, "transaction_information": where},))])
        pipeline.drain()
    assert counts(pipeline, "orphaned_events", "reason = 'superseded'") == len(places) - 1 + on_chain
    reconcile(pipeline, node, "--from-block", str(number + places[-1]))
    pipeline.drain()
    assert_equals_chain(pipeline, chain)
    reconcile(pipeline, node, "--check")


def test_reset_keeps_what_came_from_the_chain(pipeline, reorg, canonical, make_node):
    """Without a node it would be lost: refused. With one it comes again."""
    node = make_node(canonical)
    pipeline.listen_to(reorg).start()
    pipeline.feed(reorg)
    pipeline.drain()
    reconcile(pipeline, node)
    done = pipeline.run("ingest", "replay", "--reset")
    assert done.returncode == 1 and "refused" in done.stderr and "stream chain" in done.stderr
    done = pipeline.run("ingest", "replay", "--reset", RPC_URL=node.url)
    assert done.returncode == 0 and "202 rows came from the chain" in done.stderr, done.stderr
    assert counts(pipeline, "chain_block") == 0 and counts(pipeline, "event_standing") == 1336
    reconcile_to(pipeline, node, canonical)


# ---------------------------------------------------------------- the node


def filled(make_pipeline, canonical):
    return make_pipeline(NETWORK="intuition-testnet", CONTRACT_ADDRESS=canonical.contract).migrate()


REFUSALS = [
    (-32005, "query returned more than 10000 results"),
    (-32602, "eth_getLogs is limited to a 10,000 range"),
    (-32000, "block range is too wide"),
    (-32603, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range"),
]


def test_ranges_shrink_where_the_node_refuses_them(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    pipeline = filled(make_pipeline, canonical)
    for code, text in REFUSALS:
        node.ranges.clear()

        def mood(method, params, answer, code=code, text=text):
            asked = params[0] if method == "eth_getLogs" else {}
            wide = "fromBlock" in asked and int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) >= 9
            return error(code, text) if wide else None
        node.mood = mood
        done = reconcile(pipeline, node, "--check", code=1)
        assert "1538 events missing" in done.stdout
        sizes = [last - first + 1 for first, last in node.ranges]
        assert max(sizes) <= 9 and len(sizes) < 83 and sum(sizes) == canonical.head + 1, text


def test_ranges_grow_where_there_is_little(make_pipeline, canonical, make_node):
    canonical = Chain(canonical.logs, head=50_000)
    node = make_node(canonical)
    reconcile(filled(make_pipeline, canonical), node)
    sizes = [last - first + 1 for first, last in node.ranges]
    assert max(sizes) > 10_000 and len(sizes) < 12


def test_an_answer_too_large_shrinks_the_range(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    node.mood = lambda method, params, answer: (200, b" " * (17 << 20)) if method == "eth_getLogs" and params[0]["fromBlock"] != params[0]["toBlock"] else None
    done = reconcile(filled(make_pipeline, canonical), node, "--from-block", "60", "--to-block", "63", "--check", code=1)
    assert "events missing" in done.stdout


def once(answer):
    """A mood that answers so the first time, and rightly from then on."""
    left = [answer]
    return lambda method, params, right: left.pop() if method == "eth_getLogs" and left else None


def test_patience_with_a_busy_node(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    pipeline = filled(make_pipeline, canonical)
    for answer in ((429, b""), (429, b"slow down"), (503, b"busy"), error(-32005, "daily request count exceeded, request rate limited"),
                   error(429, "Your app has exceeded its compute units per second capacity")):
        node.mood = once(answer)
        assert "1538 events missing" in reconcile(pipeline, node, "--check", code=1).stdout, answer


def spoilt(change):
    """A mood that changes the logs."""
    def mood(method, params, answer):
        if method != "eth_getLogs":
            return None
        logs = answer()
        return result(change(logs, params[0]))
    return mood


def with_first(**members):
    return spoilt(lambda logs, asked: [{**logs[0], **members}, *logs[1:]] if logs else logs)


NONSENSE = {
    "no JSON": lambda method, params, answer: (200, b"<html>hello</html>"),
    "an empty answer": lambda method, params, answer: (200, b""),
    "cut short": lambda method, params, answer: (200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": answer()}).encode()[:-20]),
    "an error of the server": lambda method, params, answer: (500, b"oops"),
    "forbidden": lambda method, params, answer: (403, b"{}"),
    "no result": lambda method, params, answer: (200, b'{"jsonrpc":"2.0","id":1}'),
    "a list": lambda method, params, answer: (200, b"[1, 2]"),
    "a number for a result": lambda method, params, answer: result(7),
    "null": lambda method, params, answer: result(None) if method != "eth_getBlockByNumber" else None,
    "no hex": lambda method, params, answer: result("seven") if method == "eth_blockNumber" else None,
    "another block": lambda method, params, answer: result({**answer(), "number": "0x1"}) if method == "eth_getBlockByNumber" else None,
    "a time of text": lambda method, params, answer: result({**answer(), "timestamp": "now"}) if method == "eth_getBlockByNumber" else None,
    "no topics": with_first(topics=None),
    "short data": with_first(data="0x1234"),
    "odd data": with_first(data="0x123"),
    "another contract": with_first(address="0x" + "11" * 20),
    "a block not asked for": with_first(blockNumber="0xffff"),
    "two hashes of a number": with_first(blockHash="0x" + "22" * 32),
    "removed": with_first(removed=True),
    "a log twice": spoilt(lambda logs, asked: [*logs, logs[0]] if logs else logs),
    "wrong types": with_first(logIndex=3),
    "deep": lambda method, params, answer: (200, b"[" * 100_000),
}


def test_nonsense_changes_nothing(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    node.batches = False
    pipeline = filled(make_pipeline, canonical)
    for what, mood in NONSENSE.items():
        node.mood = mood
        done = reconcile(pipeline, node, "--from-block", "60", code=1)
        assert "reconcile: node: " in done.stderr, what
        assert "secret-key" not in done.stderr + done.stdout
        assert counts(pipeline, "event_standing") == counts(pipeline, "chain_block") == 0, what
    node.mood = None
    assert "inserted" in reconcile(pipeline, node, "--from-block", "60").stdout


@pytest.mark.parametrize("when", ["before the logs", "first time", "last time", "highest block", "first block", "last block"])
def test_a_reorg_while_it_is_read(make_pipeline, canonical, make_node, when):
    """Whenever it comes: what is written is of one chain, the new one. The newest block is asked for first, after the logs the times of their blocks are asked for, then the
    highest of the blocks that differ, then all of these."""
    branch = canonical.moved(60, "b2", without=(75,))
    node = make_node(canonical)
    node.batches = False
    blocks = len({log["block_number"] for log in canonical.events(66)})
    # one by one, that is after the batch that the node does not take
    before, call = {"before the logs": ("eth_getLogs", 1), "first time": ("eth_getBlockByNumber", 2), "last time": ("eth_getBlockByNumber", blocks + 1),
                    "highest block": ("eth_getBlockByNumber", blocks + 2), "first block": ("eth_getBlockByNumber", blocks + 3),
                    "last block": ("eth_getBlockByNumber", 2 * blocks + 2)}[when]

    def mood(method, params, answer):
        if method == before and node.calls[method] == call:
            node.chain = branch
    node.mood = mood
    pipeline = filled(make_pipeline, canonical)
    reconcile(pipeline, node, "--from-block", "66")
    assert node.chain is branch
    assert_tables(pipeline, branch.events(66), tables=oracle.EVENT_TABLES)


def test_a_reorg_between_the_blocks_that_differ(make_pipeline, canonical, make_node):
    """The lowest one is still of the old branch, the highest one of the new: only that the latter has changed says so."""
    branch = canonical.moved(60, "b2")
    node = make_node(canonical)
    node.batches = False
    pipeline = filled(make_pipeline, canonical)
    reconcile(pipeline, node, "--from-block", "66")
    with pipeline.connect() as connection:
        assert connection.execute("DELETE FROM share_price_changed_events WHERE block_number = 66").rowcount
        assert connection.execute("INSERT INTO deposited_events SELECT r.* FROM (SELECT * FROM deposited_events LIMIT 1) t CROSS JOIN LATERAL "
                                  "jsonb_populate_record(NULL::deposited_events, to_jsonb(t) || %s::jsonb) r",
                                  [json.dumps({"transaction_hash": "0x" + "ab" * 32, "block_number": 82, "block_hash": "0x" + "ee" * 32})]).rowcount
    asked = []

    def mood(method, params, answer):
        if method == "eth_getBlockByNumber" and params[0] == hex(82):
            asked.append(params)
            if len(asked) == 4:   # as the newest one, for its time, before the blocks that differ, as the last one of them
                node.chain = branch
    node.mood = mood
    reconcile(pipeline, node, "--from-block", "66")
    assert node.chain is branch
    assert_tables(pipeline, branch.events(66), tables=oracle.EVENT_TABLES)


def test_logs_that_a_lagging_node_leaves_out_orphan_nothing(pipeline, small, make_node):
    """Behind one address there are several nodes: one has the block, another does not have its logs yet."""
    chain = Chain.of(small)
    node = make_node(chain)
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    node.mood = lambda method, params, answer: result([]) if method == "eth_getLogs" and "fromBlock" in params[0] else None
    done = reconcile(pipeline, node, code=1)
    assert "left out" in done.stderr
    assert counts(pipeline) == 0


def test_logs_that_a_node_has_thrown_away_orphan_nothing(pipeline, small, make_node):
    """It shows none, neither for the range nor for the block; the block's own filter says that there are some."""
    chain = Chain.of(small)
    chain.filters = True
    node = make_node(chain)
    pipeline.listen_to(small).start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    reconcile(pipeline, node, "--check")
    node.mood = lambda method, params, answer: result([]) if method == "eth_getLogs" else None
    done = reconcile(pipeline, node, code=1)
    assert "has it lost them?" in done.stderr
    assert counts(pipeline) == counts(pipeline, "chain_absent") == 0
    node.mood = None
    contract = chain.contract
    lost, changed, gone = spoil(pipeline, contract)   # what is foreign goes as ever
    assert f"{lost} events inserted, {gone} rows orphaned, {changed} corrected" in reconcile(pipeline, node).stdout


def test_differences_are_said_once(make_pipeline, canonical, make_node):
    """However often a range is read; and only those that are there for good."""
    node = make_node(canonical)
    pipeline = filled(make_pipeline, canonical)
    reconcile(pipeline, node, "--from-block", "66")
    with pipeline.connect() as connection:
        lost = connection.execute("DELETE FROM deposited_events WHERE block_number = 66").rowcount
        assert lost
    left = [1]

    def mood(method, params, answer):
        if method == "eth_getLogs" and "fromBlock" in params[0] and left:
            left.pop()
            return result([log for log in answer() if log["blockNumber"] != hex(82)])
    node.mood = mood
    done = reconcile(pipeline, node, "--check", "--from-block", "66", code=1)
    assert not left and len(done.stdout.splitlines()) == lost + 1, done.stdout


def test_times_in_the_logs_that_are_not_those_of_the_blocks(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    node.mood = spoilt(lambda logs, asked: [{**log, "blockTimestamp": "0x0"} for log in logs])
    pipeline = filled(make_pipeline, canonical)
    reconcile(pipeline, node)
    assert_tables(pipeline, canonical.events(), tables=oracle.EVENT_TABLES)


def test_a_batch_that_is_too_large(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    node.batch_limit = 10
    assert "1538 events missing" in reconcile(filled(make_pipeline, canonical), node, "--check", code=1).stdout


def test_an_answer_with_error_null(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    node.batches = False
    node.mood = lambda method, params, answer: (200, json.dumps({"jsonrpc": "2.0", "id": 1, "error": None, "result": answer()}).encode())
    assert "1538 events missing" in reconcile(filled(make_pipeline, canonical), node, "--check", code=1).stdout


def test_a_node_that_does_not_manage_large_ranges(make_pipeline, canonical, make_node):
    """It does not say that they are too large, it fails; and now and then for no reason."""
    canonical = Chain(canonical.logs, head=50_000)
    node = make_node(canonical)
    pipeline = filled(make_pipeline, canonical)

    def mood(method, params, answer):
        if method == "eth_getLogs" and "fromBlock" in params[0] and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= 8000:
            return 504, b"upstream timed out"
    node.mood = mood
    assert "1538 events missing" in reconcile(pipeline, node, "--check", code=1).stdout


def test_a_head_that_is_nonsense(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    pipeline = filled(make_pipeline, canonical)
    for head in (2**63 - 1, 10**12):
        node.mood = lambda method, params, answer, head=head: result(hex(head)) if method == "eth_blockNumber" else None
        done = reconcile(pipeline, node, "--from-block", "60", code=1)
        assert "the node has no block" in done.stderr and not node.calls["eth_getLogs"]


def test_an_answer_of_too_many_values(make_pipeline, canonical, make_node):
    """Each costs some eighty bytes once it is parsed."""
    node = make_node(canonical)
    node.mood = lambda method, params, answer: (200, b'{"result":[' + b"0," * 7_000_000 + b"0]}") if method == "eth_getLogs" else None
    done = reconcile(filled(make_pipeline, canonical), node, "--from-block", "80", code=1)
    assert "more than 1000000 values" in done.stderr


def test_a_notice_that_comes_between_reading_and_correcting(pipeline, small, make_node):
    """It stands before the verdict, so the block is live: all that is in it, and not the corrected row alone, stands again."""
    chain = Chain.of(small)
    node = make_node(chain)
    node.batches = False
    pipeline.listen_to(small).start(BACKFILL_INTERVAL_MS=200)
    pipeline.feed(small)
    pipeline.drain()
    with pipeline.connect() as connection:
        fork, stream = connection.execute("UPDATE deposited_events SET assets = '7' WHERE (transaction_hash, log_index) = (SELECT transaction_hash, log_index "
                                          "FROM deposited_events ORDER BY block_number DESC LIMIT 1) RETURNING block_number, stream").fetchone()
        late = connection.execute("SELECT max(stream_ms) + 1 FROM event_standing WHERE stream = %s", [stream]).fetchone()[0]
    seen = []

    def mood(method, params, answer):
        if method == "eth_getBlockByNumber" and params[0] == hex(fork):
            seen.append(params)
            if len(seen) == 3:   # for its time, as the highest that differs, as one that differs: it was compared
                pipeline.feed([notice(stream, fork, id_=f"{late}-0")])
                pipeline.drain()
    node.mood = mood
    reconcile(pipeline, node, "--from-block", str(fork), "--to-block", str(fork))
    assert len(seen) >= 3
    pipeline.drain()
    pipeline.assert_verified()
    node.mood = None
    reconcile_to(pipeline, node, chain)


def test_reset_looks_again_at_what_was_not_on_the_chain(pipeline, small, make_node):
    """The stream still holds it: without a node it would stand again."""
    chain = Chain.of(small)
    node = make_node(chain)
    deposit = next(m for m in small if m.name == "Deposited")
    event = deposit.events[0]
    made_up = {**event, "transaction_information": {**event["transaction_information"], "transaction_hash": "0x" + "ab" * 32}}
    pipeline.listen_to(small).start()
    pipeline.feed([*small, feeds.Message(deposit.stream, "Deposited", (made_up,))])
    pipeline.drain()
    reconcile(pipeline, node)
    assert reasons(pipeline) == {"not on chain": 1}
    done = pipeline.run("ingest", "replay", "--reset")
    assert done.returncode == 1 and "the chain's verdict" in done.stderr, done.stderr
    done = pipeline.run("ingest", "replay", "--reset", RPC_URL=node.url)
    assert done.returncode == 0, done.stderr
    assert counts(pipeline, "chain_state", f"notice_fork <= {feeds.block_of(deposit)}") == 1
    reconcile_to(pipeline, node, chain)


@pytest.mark.parametrize("how", ["chain", "id", "code", "address"])
def test_a_node_of_another_chain_is_refused(pipeline, small, make_node, how):
    chain = Chain.of(small)
    node = make_node(chain)
    pipeline.listen_to(small).start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    reconcile(pipeline, node)                 # pins the id
    settings = {}
    if how == "chain":
        node.chain = chain.moved(0, "77")     # the same contract, address, id: another chain all the same
    elif how == "id":
        node.chain_id = CHAIN_ID + 1
    elif how == "code":
        chain.code = "0x"
    else:
        settings = {"CONTRACT_ADDRESS": "0x" + "42" * 20}
    done = reconcile(pipeline, node, code=1, **settings)
    assert {"chain": "none of 16 stored blocks", "id": f"chain {CHAIN_ID + 1}", "code": "no contract", "address": "no contract"}[how] in done.stderr
    assert counts(pipeline) == 0


def test_usage_and_configuration(make_pipeline, canonical, make_node):
    node = make_node(canonical)
    pipeline = make_pipeline().migrate()

    def says(code, text, *arguments, **settings):
        done = pipeline.run("ingest", "reconcile", *arguments, **settings)
        assert done.returncode == code and text in done.stderr and done.stdout == "", (done.returncode, done.stderr)
    says(2, "RPC_URL")
    says(2, "usage", "--rpc", "ftp://x")
    for bad in (["--from-block"], ["--from-block", "-1"], ["--to-block", "x"], ["--from-block", "9", "--to-block", "8"], ["--depth"]):
        says(2, "usage", *bad, RPC_URL=node.url)
    says(2, "set NETWORK", "--rpc", node.url)
    assert pipeline.run("ingest", "check", REDIS_STREAMS="a, chain").returncode == 2
    pipeline.run("ingest", "reconcile", NETWORK="intuition-testnet")
    says(2, "set CONTRACT_ADDRESS", RPC_URL=node.url, NETWORK="intuition-testnet")
    node.close()
    says(1, "node: ", RPC_URL=node.url, NETWORK="intuition-testnet", CONTRACT_ADDRESS=canonical.contract)
    assert "reconcile" in pipeline.run("ingest", "--help").stdout


# ---------------------------------------------------------------- the law: a function of the set of sightings, notices and verdicts


ABOUT = ("transaction_hash", "log_index", "address", "block_hash", "block_number", "network", "transaction_index")


def made_verdicts(messages, rng, count=30, elsewhere=0.5):
    """Verdicts on the feed's blocks, at moments among its entries: on the chain, with some of its events; not on it; events not in it.
    elsewhere: the share of streams that stand at any other entry at a moment, for ids and the clock disagree."""
    blocks, moments = {}, sorted({int(m.id.split("-")[0]) for m in messages})
    for stream, _, payload in feeds.as_entries(messages):
        for table, row in oracle.read_message(payload).rows:
            blocks.setdefault((row["block_number"], row["block_hash"]), {})[table, row["transaction_hash"], row["log_index"]] = row
    verdicts = []
    for moment in rng.sample(range(moments[0], moments[-1] + 5000), count):
        block = rng.choice(sorted(blocks))
        events = [(key, row) for key, row in sorted(blocks[block].items()) if rng.random() < 0.5]
        kind = rng.choice(["live", "live", "mends", "dead", "absent"])
        streams = rng.choice([(), (*feeds.streams_of(messages), "elsewhere")])
        places = tuple((stream, oracle.position_of(rng.choice(messages).id)) for stream in streams if rng.random() < elsewhere)
        if kind in ("live", "mends") and events:
            verdicts.append(oracle.Verdict(*block, True, moment, tuple((key[0], dict(row)) for key, row in events), (), kind == "mends", places))
        elif kind == "dead":
            verdicts.append(oracle.Verdict(*block, False, moment, positions=places))
        elif events:
            verdicts.append(oracle.Verdict(*block, None, moment, (), tuple(key for key, _ in events[:2]), positions=places))
    return verdicts


def write_verdict(connection, verdict):
    """As `ingest reconcile` does."""
    rows = []
    for table, row in verdict.rows:
        own = {name: value for name, value in row.items() if name not in (*ABOUT, "block_timestamp")}
        own["raw_data"] = "\\x" + own["raw_data"].hex() if own.get("raw_data") is not None else None
        time = None if row["block_timestamp"] is None else row["block_timestamp"] // 1_000_000
        rows.append(connection.execute("SELECT event_row(%s::jsonb, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s))",
                                       [json.dumps(own), *(row[name] for name in ABOUT), time]).fetchone()[0])
    for stream, (milliseconds, sequence) in verdict.positions:
        connection.execute("INSERT INTO chain_position VALUES (%s, %s, %s, %s)", [verdict.milliseconds, stream, milliseconds, sequence])
    dead, absent, block = verdict.live is False, verdict.absent, [verdict.block_number, verdict.block_hash]
    if verdict.mends:
        for name in {table for table, _ in verdict.rows}:   # one table a transaction
            with connection.transaction():
                connection.execute("SELECT event_lock(true)")
                connection.execute("SELECT count(*) FROM chain_mend(%s, %s, %s::text[]::jsonb[])", [name, verdict.milliseconds, [
                    json.dumps(row) for row, (table, _) in zip(rows, verdict.rows) if table == name]])
        return
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
    pipeline.assert_settled()
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
    pipeline.start_two(rng, BACKFILL_INTERVAL_MS=200)   # the keys of verdicts that are written here are in the outbox only
    order = rng.sample(verdicts, len(verdicts))
    with pipeline.connect() as connection:
        for verdict in order[:len(order) // 2]:
            write_verdict(connection, verdict)
        pipeline.feed(messages[half:])
        for verdict in order[len(order) // 2:]:
            write_verdict(connection, verdict)
    pipeline.drain()
    assert_law(pipeline, verdicts)
