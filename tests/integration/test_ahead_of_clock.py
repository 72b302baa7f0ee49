"""Reconciling where stream ids and Redis' clock disagree: ids ahead of it, a clock that is set back, one stream ahead and others not. And a pass
that changes the same rows again."""
import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

import feeds
from node import Chain
from servers import RedisServer
from test_reconcile import canonical, counts, notice, reconcile, reconcile_to, reorg   # noqa: F401: fixtures among them
from test_reconcile_service import metric, wait_for_chain
from waiting import until

HOUR = 3600


def shifted(messages, seconds, streams=None):
    """As if they were written then, at the same distances: these streams' or all."""
    last = max(int(m.id.split("-")[0]) for m in messages)
    by = int((time.time() + seconds) * 1000) - last

    def one(message):
        ms, _, seq = message.id.partition("-")
        return replace(message, id=f"{int(ms) + by}-{seq}") if streams is None or message.stream in streams else replace(message, id=None)
    return [one(m) for m in messages]


def assert_quiet(pipeline, ingest, node):
    """Three passes more change nothing."""
    changed, looks = metric(ingest, "reconcile_rows_total"), node.calls["eth_getLogs"]
    until(lambda: node.calls["eth_getLogs"] >= looks + 4, "it has looked three times more", alive=[ingest])
    assert metric(ingest, "reconcile_rows_total") == changed
    assert metric(ingest, 'reconcile_failures_total{cause="repeated"}') == 0


@pytest.mark.parametrize("ahead", ["all", "one", "far"])
def test_the_recorded_reorg_with_ids_in_the_future(pipeline, reorg, canonical, make_node, ahead):
    node = make_node(canonical)
    streams = feeds.streams_of(reorg)
    messages = shifted(reorg, HOUR, streams[:1] if ahead == "one" else None if ahead == "all" else ())
    ingest = pipeline.migrate().listen_to(reorg).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=200)[0]
    pipeline.feed(messages[:len(messages) // 2])
    if ahead == "far":   # one entry, of each stream, a century ahead: all that follows is behind it
        pipeline.feed([feeds.Message(s, "Odd", (), f"{int(time.time() + 100 * 365 * 24 * HOUR) * 1000}-0") for s in streams])
    pipeline.feed(messages[len(messages) // 2:])
    wait_for_chain(pipeline, canonical)
    assert_quiet(pipeline, ingest, node)


def test_what_stood_ahead_in_a_redis_that_is_gone(pipeline, reorg, canonical, make_node):
    """Nothing tells its last ids any more but what is stored."""
    node = make_node(canonical)
    pipeline.migrate().listen_to(reorg).start()
    pipeline.feed(shifted(reorg, HOUR))
    pipeline.drain()
    pipeline.stop()
    pipeline.redis().flushdb()
    ingest = pipeline.start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=200)[0]
    wait_for_chain(pipeline, canonical)
    assert_quiet(pipeline, ingest, node)


class ShiftedRedis(RedisServer):
    """Its clock is `ahead` seconds ahead."""

    def __init__(self, folder):
        super().__init__(folder)
        self.library, self.clock = self.folder / "clock.so", self.folder / "clock"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.library, Path(__file__).with_name("clock.c"), "-ldl"], check=True)
        self.ahead(0)

    def ahead(self, seconds):
        new = self.clock.with_suffix(".new")
        new.write_text(str(seconds))
        os.replace(new, self.clock)

    def command(self):
        return ["env", f"LD_PRELOAD={self.library}", f"CLOCK_FILE={self.clock}", *super().command()]


def test_a_clock_that_is_set_back(make_pipeline, own_servers, server_folder, reorg, small, make_node):
    """Between two looks. What is written after the second stands behind it, although its id is below the first."""
    own_servers.append(ShiftedRedis(server_folder))
    server = own_servers[-1]
    server.ahead(HOUR)
    server.start()
    pipeline = make_pipeline(redis=server)
    chain = Chain.of(small)
    node = make_node(chain)
    numbers = sorted({log["block_number"] for log in chain.logs})
    fork, stream = numbers[len(numbers) // 2], feeds.streams_of(small)[0]
    pipeline.listen_to(small).start()
    pipeline.feed(feeds.new_ids(small[::2]))
    pipeline.drain()
    reconcile_to(pipeline, node, chain)
    assert int(pipeline.redis().time()[0]) > time.time() + HOUR / 2, "the server's clock is ahead"
    server.ahead(0)
    branch = chain.moved(fork, "b7")
    node.chain = branch
    reconcile_to(pipeline, node, branch)
    other = "behind"
    pipeline.listen_to([*small, notice(other, fork)]).start("ingest")
    reconcile(pipeline, node)
    # one more look that finds something, with this stream known; then a notice, by the clock that was set back
    with pipeline.connect() as connection:
        connection.execute("DELETE FROM deposited_events WHERE block_number >= %s", [fork])
    reconcile(pipeline, node)
    before = counts(pipeline, "deposited_events", f"stream = 'chain' AND block_number >= {fork}")
    assert before > 0
    # one of its events again, in a block that nobody has said anything of
    again = next(m for m in small if m.name == "Deposited" and feeds.block_of(m) >= fork)
    about = {**again.events[0]["transaction_information"], "block_hash": "0x" + "5e" * 32}
    pipeline.feed([replace(again, id=None, raw=None, events=({**again.events[0], "transaction_information": about},))])
    pipeline.drain(["ingest"])
    assert counts(pipeline, "deposited_events", f"block_hash = '{about['block_hash']}'") == 1, "it is later than the chain's row"
    before = counts(pipeline, "deposited_events", f"stream = 'chain' AND block_number >= {fork}")
    assert before > 0
    pipeline.feed([notice(other, fork)])
    pipeline.drain(["ingest"])
    assert counts(pipeline, "deposited_events", f"stream = 'chain' AND block_number >= {fork}") == 0, "the notice ends the verdicts"
    reconcile_to(pipeline, node, branch)
    reconcile(pipeline, node, "--check")


def test_one_stream_ahead_of_the_clock_and_another_not(pipeline, small, make_node):
    """A notice that comes by the one that is not ahead stands behind the verdicts, although ids of the other are greater."""
    chain = Chain.of(small)
    node = make_node(chain)
    prices = next(m.stream for m in small if m.name == "SharePriceChanged")
    other = next(s for s in feeds.streams_of(small) if s != prices)
    numbers = sorted({log["block_number"] for log in chain.events() if log["event"] == "SharePriceChanged"})
    fork = numbers[len(numbers) // 2]
    pipeline.listen_to(small).start()
    pipeline.feed(shifted([m for m in small if m.name != "SharePriceChanged" or feeds.block_of(m) < fork], HOUR, {prices}))
    pipeline.drain()
    reconcile_to(pipeline, node, chain)
    from_chain = "stream = 'chain' AND block_number >= " + str(fork)
    above = counts(pipeline, "share_price_changed_events", from_chain)
    assert above > 0
    pipeline.feed([notice(other, fork)])
    pipeline.drain()
    assert counts(pipeline, "share_price_changed_events", from_chain) == 0
    reconcile_to(pipeline, node, chain)
    # and one of the stream that is ahead
    pipeline.feed([notice(prices, fork, 2)])
    pipeline.drain()
    assert counts(pipeline, "share_price_changed_events", from_chain) == 0
    reconcile_to(pipeline, node, chain)


def test_a_pass_that_changes_the_same_rows_again_has_failed(pipeline, small, make_node):
    """Something takes away what reconciling inserts. It is said once, counted, and the last success stays where it was."""
    chain = Chain.of(small)
    node = make_node(chain)
    ingest = pipeline.migrate().listen_to(small).start(RPC_URL=node.url, RECONCILE_INTERVAL_MS=100)[0]
    pipeline.feed([m for m in small if m.name != "Deposited"])
    with pipeline.connect() as connection:
        connection.execute("""CREATE FUNCTION nothing_from_the_chain() RETURNS trigger LANGUAGE plpgsql AS
                              $$ BEGIN RETURN CASE WHEN NEW.stream <> 'chain' THEN NEW END; END $$""")
        connection.execute("CREATE TRIGGER odd BEFORE INSERT ON deposited_events FOR EACH ROW EXECUTE FUNCTION nothing_from_the_chain()")
    ingest.says("does something else change the event tables")

    def failures():
        return metric(ingest, 'reconcile_failures_total{cause="repeated"}')

    def shown():
        return any(p["runbook"] == "PipelineReconcileRepeats" and "what is written does not stay" in p["text"] for p in json.loads(ingest.get("/status")[1])["problems"])
    until(shown, "the page says so", alive=[ingest])
    with pipeline.connect() as connection:
        ended = connection.execute("SELECT reconciled_at FROM chain_state").fetchone()
        before = failures()
        until(lambda: failures() >= before + 2, "it goes on failing", alive=[ingest])
        assert connection.execute("SELECT reconciled_at FROM chain_state").fetchone() == ended
        assert ingest.messages().count("does something else change the event tables") == 1
        connection.execute("DROP TRIGGER odd ON deposited_events")
    ingest.says("reconciling with the chain works again")
    until(lambda: not shown(), "the page does not say so any more", alive=[ingest])
    wait_for_chain(pipeline, chain)
