"""Large batches of keys that cascade and analytics do in parts, each a transaction of its own."""
from itertools import count

import pytest

from feeds import Message
from keccak import counter_id
from test_sequences import STREAM, about
from waiting import until


class Feed:
    """Messages of made events, each in a block of its own."""

    def __init__(self):
        self.blocks = count(1)

    def message(self, name, values):
        events = []
        for own in values:
            block = next(self.blocks)
            events.append({**own, "transaction_information": about(block, block, block)})
        return Message(STREAM, name, tuple(events))

    def triples(self, terms):
        atom, creator = "0x" + "a" * 64, "0x" + "ab" * 20
        return self.message("TripleCreated", [{"creator": creator, "termId": term, "subjectId": atom, "predicateId": atom, "objectId": atom} for term in terms])

    def prices(self, terms, price):
        return self.message("SharePriceChanged", [{"termId": term, "curveId": "1", "sharePrice": str(price), "totalAssets": str(price),
                                                   "totalShares": str(10**18), "vaultType": 1} for term in terms])


def spread(number):
    return [f"0x{i % 16:x}{i:063x}" for i in range(16, 16 + number)]


def part(term):
    return int(term[2], 16) // 4


def crossing(first):
    """A term and its counter term, which are in different parts; the counter's later (first) or earlier."""
    for i in range(1000):
        term = f"0x{0 if first else 15:x}{i:063x}"
        if part(counter_id(term)) != part(term):
            return term, counter_id(term)


@pytest.mark.parametrize("first", [True, False])
def test_a_term_of_two_triples_moves_both(make_pipeline, first):
    """A term that is one triple's own and another one's counter term: one row of the outbox means two triples, which are in two parts."""
    pipeline, feed = make_pipeline(BACKFILL_INTERVAL_MS=500, WORKERS=1), Feed()
    term, counter = crossing(first)
    terms = [term, counter, *spread(300)]
    messages = [feed.triples(terms), feed.prices(terms[1:], 10)]
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    *_, analytics = pipeline.start()
    pipeline.drain()
    pipeline.stop(analytics)   # what comes now is one batch
    pipeline.feed([feed.prices(terms[1:], 20)])
    pipeline.drain(["ingest", "cascade"])
    pipeline.start("analytics")
    pipeline.drain()
    pipeline.assert_exact()


def test_keys_of_parts_that_were_done_before_the_batch_failed_go_on(make_pipeline):
    """A part runs into its deadline after others were committed, and the batch is halved: those have nothing left to do, and are published."""
    pipeline, feed = make_pipeline(BACKFILL_INTERVAL_MS=600_000, WORKERS=1), Feed()
    terms = spread(400)
    messages = [feed.triples(terms), feed.prices(terms, 10)]
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    _, cascade, _ = pipeline.start()
    pipeline.drain()
    pipeline.stop(cascade)
    pipeline.feed([feed.prices(terms, 20)])
    pipeline.drain(["ingest"])
    begun = set()

    def came_again():
        begun.update(watcher.execute("SELECT query_start FROM pg_stat_activity WHERE application_name = 'cascade' AND wait_event_type = 'Lock'").fetchall())
        return len(begun) > 1
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute("SELECT FROM term WHERE id = %s FOR UPDATE", (max(terms),))
        pipeline.start("cascade", PROCESSING_TIMEOUT_MS=1000)
        until(came_again, "the batch ran into its deadline at that term", alive=pipeline.alive())
        holder.rollback()
    pipeline.drain()   # the backfill would take ten minutes
    pipeline.assert_exact()
