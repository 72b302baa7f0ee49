"""The service's own reconciling: after notices, the gap at start, the newest blocks every so often; and a node that is away holds nothing up."""
import threading

import pytest

import feeds
import oracle
from node import Chain, as_entries, error
from test_reconcile import assert_equals_chain, canonical, counts, notice, reorg   # noqa: F401: fixtures among them
from waiting import until

NEVER = 86_400_000   # RECONCILE_INTERVAL_MS, for what must come from elsewhere


def equals_chain(pipeline, chain):
    """A condition for until(): the event tables are the chain's."""
    def condition():
        with pipeline.connect() as connection:
            found = oracle.compare(connection, as_entries(chain.events()), tables=oracle.EVENT_TABLES)
        condition.why = lambda: oracle.report(found, 3)
        return not found
    return condition


def wait_for_chain(pipeline, chain):
    until(equals_chain(pipeline, chain), "the tables equal the chain", alive=pipeline.alive())
    pipeline.drain()
    assert_equals_chain(pipeline, chain)


def metric(service, name):
    lines = [line for line in service.get("/metrics")[1].splitlines() if line.startswith((name + " ", name + "{"))]
    return sum(float(line.split()[-1]) for line in lines)


def test_the_recorded_reorg(pipeline, reorg, canonical, make_node):
    node = make_node(canonical)
    ingest = pipeline.migrate().listen_to(reorg).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=500)[0]
    pipeline.feed(reorg)
    wait_for_chain(pipeline, canonical)
    with pipeline.connect() as connection:
        assert not oracle.compare_truth(connection, feeds.load_truth("reorg.truth.json.xz"))
    until(lambda: metric(ingest, "reconcile_block") == canonical.head, "the metrics say so", alive=[ingest])
    assert metric(ingest, 'reconcile_rows_total{action="inserted"}') >= 202
    assert metric(ingest, "reconcile_success_timestamp_seconds") > 1.7e9 and metric(ingest, "reconcile_failures_total") == 0
    assert "secret-key" not in ingest.messages()


def test_what_was_lost_comes_with_the_interval(pipeline, small, make_node):
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    node = make_node(chain.until(numbers[-3]))
    pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=200)
    pipeline.feed([m for m in small if feeds.block_of(m) <= numbers[-4]])
    wait_for_chain(pipeline, node.chain)    # one block was lost
    node.chain = chain                      # and two more
    wait_for_chain(pipeline, chain)


def test_the_gap_at_start(pipeline, small, make_node):
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    chain.head += 1000                      # far behind the head's RECONCILE_DEPTH blocks
    node = make_node(chain)
    pipeline.migrate().listen_to(small)
    first = pipeline.start("ingest")
    pipeline.feed([m for m in small if feeds.block_of(m) <= numbers[len(numbers) // 2]])
    pipeline.drain(["ingest"])
    pipeline.stop(first)
    pipeline.start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=NEVER, RECONCILE_DEPTH=1)
    wait_for_chain(pipeline, chain)


def test_after_a_notice(pipeline, small, make_node):
    """From the fork block on, however deep; and again after each copy that comes later, until all is quiet."""
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    fork = numbers[len(numbers) // 3]
    branch = chain.moved(fork, "a7", without=(numbers[-2],))
    node = make_node(chain)
    pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=NEVER, RECONCILE_DEPTH=1)
    pipeline.feed(small)
    pipeline.drain()
    until(lambda: counts(pipeline, "chain_state", "reconciled_at IS NOT NULL"), "it has looked once", alive=pipeline.alive())
    node.chain = branch
    streams = feeds.streams_of(small)
    pipeline.feed([notice(streams[0], fork)])
    wait_for_chain(pipeline, branch)
    pipeline.feed([notice(stream, fork) for stream in streams for _ in range(3)])   # the streams that hear of it later
    pipeline.feed([m for m in feeds.new_ids(small) if feeds.block_of(m) >= fork][:5])   # a straggler of the old branch
    pipeline.drain()
    until(lambda: counts(pipeline, "chain_state", "notice_fork IS NULL"), "it has come to its end", alive=pipeline.alive())
    wait_for_chain(pipeline, branch)


def test_a_node_that_was_away_for_more_than_the_depth(pipeline, small, make_node):
    """What was lost meanwhile lies below the last RECONCILE_DEPTH blocks; of that it is not known, for what came later is stored."""
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    before = numbers[len(numbers) // 2]
    node = make_node(chain.until(before))
    ingest, *others = pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100, RECONCILE_DEPTH=1)
    pipeline.feed([m for m in small if feeds.block_of(m) <= before])
    pipeline.drain()
    until(lambda: counts(pipeline, "chain_state", f"reconciled_block = {before}"), "it has looked", alive=[ingest])
    node.mood = lambda method, params, answer: (500, b"oops")
    ingest.says("reconciling with the chain waits")
    pipeline.feed([m for m in small if feeds.block_of(m) == numbers[-1]])
    pipeline.drain()
    node.chain, node.mood = chain, None
    wait_for_chain(pipeline, chain)


def test_a_stop_does_not_wait_for_another_one_that_reconciles(pipeline, small, make_node):
    chain = Chain.of(small)
    chain.head += 5000                    # more than one range
    node = make_node(chain)
    pipeline.migrate().listen_to(small)
    first = pipeline.start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    pipeline.stop(first)
    with pipeline.connect() as connection:
        taken = threading.Event()

        def take():
            connection.execute("SELECT pg_advisory_lock(hashtext('reconcile'), 0)")
            taken.set()

        def mood(method, params, answer):
            if method == "eth_getLogs" and not taker.ident:
                taker.start()
                with pipeline.connect() as other:
                    until(lambda: other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'").fetchone()[0], "it waits")
        taker = threading.Thread(target=take)
        node.mood = mood
        ingest = pipeline.start("ingest", RPC_URL=node.url, SHUTDOWN_TIMEOUT_MS=3000)
        assert taken.wait(30)
        pipeline.stop(ingest)             # exits 0 within SHUTDOWN_TIMEOUT_MS, or the test fails


MOODS = {
    "hangs": None,
    "refuses connections": None,
    "asks for patience": (429, b"slow down"),
    "talks nonsense": (200, b"<html>"),
    "fails": (500, b"oops"),
    "refuses everything": error(-32601, "the method does not exist"),
}


@pytest.mark.parametrize("mood", MOODS)
def test_a_bad_node_delays_reconciling_and_nothing_else(pipeline, small, make_node, mood):
    """Events flow meanwhile; a stop does not wait; once it is well it is made up for."""
    chain = Chain.of(small)
    node = make_node(chain)
    url = node.url
    node.mood = lambda method, params, answer: MOODS[mood] or (node.released.wait(), 200, b"")[1:]
    if mood == "refuses connections":
        url = url.replace("127.0.0.1", "127.0.0.2")
    ingest, *others = pipeline.migrate().listen_to(small).start(RPC_URL=url, RECONCILE_INTERVAL_MS=100, SHUTDOWN_TIMEOUT_MS=10_000)
    pipeline.feed(small[::2])
    pipeline.drain().assert_exact()
    if mood == "hangs":
        until(lambda: node.calls["eth_blockNumber"], "the node is asked", alive=[ingest])
    else:
        ingest.says("reconciling with the chain waits")
        until(lambda: metric(ingest, "reconcile_failures_total") > 0, "the failure is counted", alive=[ingest])
    assert ingest.status_of("/health") == 200
    pipeline.stop(ingest)   # exits 0 within SHUTDOWN_TIMEOUT_MS, or the test fails
    node.mood = None
    pipeline.start("ingest", RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    wait_for_chain(pipeline, chain)
    assert "secret-key" not in ingest.messages()


def test_it_recovers_by_itself(pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    node.mood = lambda method, params, answer: (500, b"oops")
    ingest, *others = pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    pipeline.feed(small[::2])
    ingest.says("reconciling with the chain waits")
    node.mood = None
    ingest.says("reconciling with the chain works again")
    wait_for_chain(pipeline, chain)


def test_a_node_that_is_behind_says_nothing_of_what_is_above(pipeline, small, make_node):
    chain = Chain.of(small)
    numbers = sorted({log["block_number"] for log in chain.logs})
    node = make_node(chain.until(numbers[len(numbers) // 2]))
    pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    pipeline.feed(small)
    pipeline.drain()
    calls = node.calls["eth_getLogs"]
    until(lambda: node.calls["eth_getLogs"] > calls + 3, "it has looked a few times more", alive=pipeline.alive())
    pipeline.assert_exact()
    assert counts(pipeline) == 0


def test_one_replica_at_a_time(pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    held, go = threading.Event(), threading.Event()

    def mood(method, params, answer):
        if method == "eth_getLogs" and not go.is_set():
            held.set()
            go.wait()
    node.mood = mood
    pipeline.migrate().listen_to(small)
    pipeline.start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    pipeline.feed(small[::2])
    assert held.wait(60)
    asked = node.calls["eth_blockNumber"]
    pipeline.start("ingest", RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    until(lambda: node.calls["eth_blockNumber"] >= asked + 3, "the other one would like to", alive=pipeline.alive())
    assert node.calls["eth_getLogs"] == 1
    go.set()
    wait_for_chain(pipeline, chain)
    assert pipeline.deadlocks() == 0


def test_it_waits_until_network_and_contract_are_known(pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain)
    ingest, *others = pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)
    ingest.says("set NETWORK")
    assert not node.calls
    pipeline.feed(small[:-5])
    wait_for_chain(pipeline, chain)
