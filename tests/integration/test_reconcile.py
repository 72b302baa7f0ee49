"""`ingest reconcile` and the service's reconciling: after any loss at the source the tables equal the chain."""
import pytest

import feeds
import oracle
from node import Chain, Node, as_entries


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
