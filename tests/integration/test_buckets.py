"""cascade works off its outbox by buckets of terms: whose failures, how much, and what rebuild makes of what waits."""
import re
import threading
from itertools import count
from pathlib import Path

import pytest

from feeds import Message
from keccak import counter_id
from test_sequences import STREAM, about
from waiting import until

FOLD = Path(__file__).resolve().parents[2] / "cascade/sql"
NEIGHBOURS = [f"0x00{i:062x}" for i in range(1, 21)]   # all in bucket 0


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


def bucket_of(term):
    return int(term[2:4], 16) // 4


def statement(name, *values):
    """A statement of cascade, its parameters filled in: text arrays, a number, or NULL."""
    text = re.sub(r"--.*", "", (FOLD / f"{name}.sql").read_text())
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", "NULL" if value is None else str(value) if isinstance(value, int) else "'{" + ",".join(value) + "}'")
    return text


def insert(connection, table, own, block, account="r", term=NEIGHBOURS[0]):
    columns = {"transaction_hash": f"{table}{block}{account}{term}", "log_index": 0, "address": "0x", "block_hash": f"b{block}", "block_number": block,
               "network": "n", "transaction_index": 0, "stream": "s", "stream_ms": 1, "stream_seq": block, "term_id": term, "curve_id": "1",
               "vault_type": 0, **({} if "price" in table else {"sender": "s", "receiver": account, "shares": "1"}), **own}
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", list(columns.values()))


def deposit(connection, block, total, account="r", term=NEIGHBOURS[0]):
    insert(connection, "deposited_events", {"assets": "1", "assets_after_fees": "1", "total_shares": total}, block, account, term)


def price(connection, block, term):
    insert(connection, "share_price_changed_events", {"share_price": "1", "total_assets": "1", "total_shares": "1"}, block, term=term)


def filled(make_pipeline, **settings):
    pipeline, feed = make_pipeline(**settings), Feed()
    messages = [feed.triples(NEIGHBOURS), feed.prices(NEIGHBOURS, 10)]
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    services = dict(zip(("ingest", "cascade", "analytics"), pipeline.start()))
    pipeline.drain()
    return pipeline, feed, services


def let_wait(pipeline, connection, rows):
    """So many outbox rows of one term, and one entry that names it."""
    connection.execute("SELECT vault_tell_of_terms(ARRAY[%s], 0) FROM generate_series(1, %s)", (NEIGHBOURS[0], rows))
    pipeline.redis().xadd(pipeline.vault_updates, {"term_id": NEIGHBOURS[0], "reason": "test", "block_number": "1"})


@pytest.mark.parametrize("state", ["22023", "P0001"])
def test_a_refused_term_holds_up_no_neighbour(make_pipeline, state):
    """One outbox row names them all: the others are done. The refused one stays there and comes again; where its data is at fault it has its letter."""
    # an entry that is tried again and again has a worker: one entry, two workers
    pipeline, feed, _ = filled(make_pipeline, BACKFILL_INTERVAL_MS=300 if state == "22023" else 600_000, WORKERS=2, CIRCUIT_BREAKER_TIMEOUT_MS=300)
    poison, others = NEIGHBOURS[7], [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as connection:
        connection.execute(f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                               $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$""")
        connection.execute(f"""CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON term FOR EACH ROW
                               WHEN (NEW.id = '{poison}' AND NEW.total_assets >= 20) EXECUTE FUNCTION refuse()""")

        def done(total):
            return lambda: connection.execute("SELECT count(*) FROM term WHERE id = ANY (%s) AND total_assets = %s", (others, total)).fetchone()[0] == len(others)
        if state == "22023":
            pipeline.feed([feed.prices(NEIGHBOURS, 20)])
            until(done(20), "its neighbours are done", alive=pipeline.alive())
            until(lambda: pipeline.dead_letters(), "it has its letter", alive=pipeline.alive())
            letter, = pipeline.dead_letters()
            assert (letter["stage"], letter["error_class"]) == ("cascade", "database") and poison in letter["payload"]
        else:
            pipeline.feed([feed.prices([poison], 20)])
            until(lambda: pipeline.redis().xinfo_groups(pipeline.vault_updates)[0]["pending"] == 1, "a worker has it", alive=pipeline.alive())
        for total in range(21, 24):   # more of the bucket, and it still refuses
            pipeline.feed([feed.prices(others, total)])
            until(done(total), "its neighbours are done", alive=pipeline.alive())
        until(lambda: connection.execute("SELECT array_agg(DISTINCT term_id) FROM vault_waiting").fetchone()[0] == [poison], "only it waits",
              alive=pipeline.alive())
        connection.execute("DROP TRIGGER refuse ON term")
    pipeline.drain()
    assert len(pipeline.dead_letters()) == (state == "22023"), "what waits in the outbox has had its letter"
    assert not pipeline.differences() and not pipeline.deadlocks()


def test_a_term_that_somebody_holds_holds_up_no_neighbour(make_pipeline):
    """Who waits for its row keeps the bucket from others: not for as long as a batch may take."""
    pipeline, feed, _ = filled(make_pipeline, BACKFILL_INTERVAL_MS=300, WORKERS=2, PROCESSING_TIMEOUT_MS=600_000)
    others = [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as holder, pipeline.connect() as connection:
        holder.autocommit = False
        holder.execute("SELECT FROM term WHERE id = %s FOR UPDATE", (NEIGHBOURS[7],))
        pipeline.feed([feed.prices(NEIGHBOURS, 20)])
        for total in (21, 22):
            pipeline.feed([feed.prices(others, total)])
            until(lambda total=total: connection.execute("SELECT count(*) FROM term WHERE id = ANY (%s) AND total_assets = %s", (others, total)).fetchone()[0]
                  == len(others), "its neighbours are done", alive=pipeline.alive())
        holder.rollback()
    pipeline.drain()
    pipeline.assert_exact()


def test_more_waits_than_one_transaction_takes(make_pipeline):
    """One entry, and forty thousand outbox rows in its key's bucket: all of them are done for it."""
    pipeline, _, services = filled(make_pipeline, BACKFILL_INTERVAL_MS=600_000)
    pipeline.stop(services["cascade"])
    with pipeline.connect() as connection:
        let_wait(pipeline, connection, 40000)   # ROWS_MAX in aggregate.c, and more than as many again
        pipeline.start("cascade")
        until(lambda: not connection.execute("SELECT count(*) FROM vault_outbox").fetchone()[0], "nothing waits any more", alive=pipeline.alive())
    pipeline.drain()
    pipeline.assert_exact()


def test_holders_are_counted_less_what_still_waits(pipeline, small):
    """rebuild's count, while outbox rows of the same snapshot wait: these are added later."""
    pipeline.listen_to(small)
    pipeline.feed(small)
    pipeline.start("ingest")
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        waiting = connection.execute("SELECT term_id, curve_id, sum(position_delta) FROM vault_waiting GROUP BY 1, 2 HAVING sum(position_delta) <> 0").fetchall()
        terms = [row[0] for row in connection.execute("SELECT DISTINCT term_id FROM vault").fetchall()]
        assert waiting
        connection.execute(statement("30_vault_recount", terms))
        for term, curve, delta in waiting:
            assert connection.execute("SELECT position_count FROM vault WHERE (term_id, curve_id) = (%s, %s)", (term, curve)).fetchone()[0] == \
                connection.execute("SELECT count(*) FROM position WHERE (term_id, curve_id) = (%s, %s) AND shares > 0", (term, curve)).fetchone()[0] - delta
    pipeline.start("cascade", "analytics")
    pipeline.drain()
    assert not pipeline.differences()


def test_what_a_stop_in_between_leaves_is_queued_again(make_pipeline):
    """The entry is acked: the rest of its bucket's rows waits in the outbox, for the backfill of the next start."""
    pipeline, _, services = filled(make_pipeline, BACKFILL_INTERVAL_MS=300)
    pipeline.stop(services["cascade"])
    with pipeline.connect() as connection:
        let_wait(pipeline, connection, 60000)
        cascade = pipeline.start("cascade", BACKFILL_INTERVAL_MS=600_000)
        until(lambda: connection.execute("SELECT count(*) FROM vault_outbox").fetchone()[0] < 60000, "the first round", pause=0.001, alive=pipeline.alive())
        pipeline.stop(cascade)
        assert pipeline.redis().xinfo_groups(pipeline.vault_updates)[0]["pending"] == 0
    pipeline.start("cascade")
    pipeline.drain()
    pipeline.assert_exact()


def crossing(first):
    """A term and its counter term in different buckets; the counter's is the later one (first) or the earlier one."""
    for i in range(1000):
        term = f"0x{0 if first else 15:x}{i:063x}"
        if bucket_of(counter_id(term)) != bucket_of(term):
            return term, counter_id(term)


@pytest.mark.parametrize("first", [True, False])
def test_a_term_of_two_triples_moves_both(make_pipeline, first):
    """A term that is one triple's own and another one's counter term: one outbox row means two triples, which are in two buckets."""
    pipeline, feed = make_pipeline(BACKFILL_INTERVAL_MS=600_000, WORKERS=1), Feed()
    term, counter = crossing(first)
    terms = [term, counter, *NEIGHBOURS]
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


def test_a_vault_is_not_buried_while_something_of_it_waits(pipeline):
    """Its last event went in a reorg, and its outbox rows are taken one at a time: one that comes after the burial would be lost."""
    pipeline.migrate()
    term, bucket = NEIGHBOURS[:1], ["0"]
    with pipeline.connect() as connection:
        def take_one():
            with connection.transaction():
                connection.execute(statement("30_bucket_lock", bucket))
                if connection.execute(statement("30_vault_fold", bucket, None, 1)).fetchall():
                    connection.execute(statement("30_vault_bury", term))
                    connection.execute(statement("31_term_recompute", term))
        connection.execute("SELECT vault_tell_of_terms(%s, 0)", (term,))   # a row of the term, which is taken first
        deposit(connection, 10, "5")
        connection.execute("DELETE FROM deposited_events")
        take_one()
        take_one()
        deposit(connection, 11, "5")
        while connection.execute("SELECT count(*) FROM vault_outbox").fetchone()[0]:
            take_one()
        assert connection.execute("SELECT position_count FROM vault").fetchall() == [(1,)]


def test_rebuild_locks_vaults_in_one_pass(pipeline):
    """The batch under way has an earlier vault and waits for a later one; holders of the later one wait to be counted."""
    pipeline.migrate()
    first, last = NEIGHBOURS[0], NEIGHBOURS[8]
    with pipeline.connect() as connection, pipeline.connect() as rebuild, pipeline.connect() as batch:
        for term in (first, last):
            price(connection, 10, term)
        deposit(connection, 11, "5", term=last)
        batch.autocommit = rebuild.autocommit = False
        price(batch, 12, first)

        def recount():
            rebuild.execute(statement("30_bucket_lock", ["0"]))
            for name in ("30_vault_recount", "30_vault_bury", "31_term_recompute"):
                rebuild.execute(statement(name, [first, last]))
            rebuild.commit()
        thread = threading.Thread(target=recount)
        thread.start()
        until(lambda: connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()[0], "it waits for the first")
        price(batch, 12, last)
        batch.commit()
        thread.join()
    assert pipeline.deadlocks() == 0


def test_what_changes_nothing_behind_it_does_not_wait(pipeline):
    """A deposit of a holder into a vault that is there moves neither the vault nor its number of holders; one that comes first, or last, does."""
    pipeline.migrate()
    term = NEIGHBOURS[0]
    with pipeline.connect() as connection:
        def waiting():
            rows = connection.execute("SELECT term_id, curve_id, sum(position_delta) FROM vault_waiting GROUP BY 1, 2").fetchall()
            connection.execute("DELETE FROM vault_outbox")
            return rows

        def deposited(block, total, account="r"):
            deposit(connection, block, total, account)
            return waiting()

        def redeemed(block, total):
            insert(connection, "redeemed_events", {"assets": "1", "fees": "1", "total_shares": total}, block)
            return waiting()
        assert deposited(10, "5") == [(term, "1", 1)]
        assert deposited(11, "6") == []
        assert redeemed(12, "4") == []
        assert deposited(9, "1") == [(term, "1", 0)], "the vault is older than it was"
        assert deposited(13, "2", account="other") == [(term, "1", 1)]
        assert redeemed(14, "0") == [(term, "1", -1)]
        assert redeemed(8, "0") == [(term, "1", 0)]
        assert redeemed(13, "3") == [], "late, and not the latest"
