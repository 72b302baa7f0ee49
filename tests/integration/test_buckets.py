"""cascade works off its outbox by buckets of terms: whose failures, how much, and what rebuild makes of what waits."""
import re
from pathlib import Path

from test_parts import Feed
from waiting import until

FOLD = Path(__file__).resolve().parents[2] / "cascade/sql"
NEIGHBOURS = [f"0x00{i:062x}" for i in range(1, 21)]   # all in one bucket


def statement(name, *values):
    """A statement of cascade, its parameters filled in: text arrays, or NULL."""
    text = re.sub(r"--.*", "", (FOLD / f"{name}.sql").read_text())
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", "NULL" if value is None else "'{" + ",".join(value) + "}'")
    return text


def filled(make_pipeline, **settings):
    pipeline, feed = make_pipeline(**settings), Feed()
    messages = [feed.triples(NEIGHBOURS), feed.prices(NEIGHBOURS, 10)]
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    services = dict(zip(("ingest", "cascade", "analytics"), pipeline.start()))
    pipeline.drain()
    return pipeline, feed, services


def test_a_refused_term_holds_up_no_neighbour(make_pipeline):
    """One outbox row names them all: the others are done, the refused one stays there, has its letter, and comes again."""
    pipeline, feed, _ = filled(make_pipeline, BACKFILL_INTERVAL_MS=300, WORKERS=2)
    poison, others = NEIGHBOURS[7], [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as connection:
        connection.execute("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                              $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '22023'; END $$""")
        connection.execute(f"""CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON term FOR EACH ROW
                               WHEN (NEW.id = '{poison}' AND NEW.total_assets = 20) EXECUTE FUNCTION refuse()""")

        def done():
            return connection.execute("SELECT count(*) FROM term WHERE id = ANY (%s) AND total_assets = 20", (others,)).fetchone()[0] == len(others)
        pipeline.feed([feed.prices(NEIGHBOURS, 20)])
        until(done, "its neighbours are done", alive=pipeline.alive())
        until(lambda: pipeline.dead_letters(), "it has its letter", alive=pipeline.alive())
        letter, = pipeline.dead_letters()
        assert (letter["stage"], letter["error_class"]) == ("cascade", "database") and poison in letter["payload"]
        pipeline.feed([feed.prices(others, 20)])   # more of the bucket, and it still refuses
        until(lambda: connection.execute("SELECT array_agg(DISTINCT term_id) FROM vault_waiting").fetchone()[0] == [poison], "only it waits",
              alive=pipeline.alive())
        connection.execute("DROP TRIGGER refuse ON term")
    pipeline.drain()
    assert len(pipeline.dead_letters()) == 1, "what waits in the outbox has had its letter"
    assert not pipeline.differences() and not pipeline.deadlocks()


def test_more_waits_than_one_transaction_takes(make_pipeline):
    """One entry, and ten thousand outbox rows in its key's bucket: all of them are done for it."""
    pipeline, _, services = filled(make_pipeline, BACKFILL_INTERVAL_MS=600_000)
    pipeline.stop(services["cascade"])
    with pipeline.connect() as connection:
        connection.execute("SELECT vault_tell_of_terms(ARRAY[%s], 0) FROM generate_series(1, 10000)", NEIGHBOURS[:1])
        pipeline.redis().xadd(pipeline.vault_updates, {"term_id": NEIGHBOURS[0], "reason": "test", "block_number": "1"})
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


def test_what_changes_nothing_behind_it_does_not_wait(pipeline):
    """A deposit of a holder into a vault that is there moves neither the vault nor its number of holders; one that comes first, or last, does."""
    pipeline.migrate()
    term = NEIGHBOURS[0]
    with pipeline.connect() as connection:
        def insert(table, own, block, account="r"):
            columns = {"transaction_hash": f"{table}{block}{account}", "log_index": 0, "address": "0x", "block_hash": f"b{block}", "block_number": block,
                       "network": "n", "transaction_index": 0, "stream": "s", "stream_ms": 1, "stream_seq": block, "sender": "s", "receiver": account,
                       "term_id": term, "curve_id": "1", "shares": "1", "vault_type": 0, **own}
            connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", list(columns.values()))
            waiting = connection.execute("SELECT term_id, curve_id, sum(position_delta) FROM vault_waiting GROUP BY 1, 2").fetchall()
            connection.execute("DELETE FROM vault_outbox")
            return waiting

        def deposit(block, total, account="r"):
            return insert("deposited_events", {"assets": "1", "assets_after_fees": "1", "total_shares": total}, block, account)

        def redemption(block, total):
            return insert("redeemed_events", {"assets": "1", "fees": "1", "total_shares": total}, block)
        assert deposit(10, "5") == [(term, "1", 1)]
        assert deposit(11, "6") == []
        assert redemption(12, "4") == []
        assert deposit(9, "1") == [(term, "1", 0)], "the vault is older than it was"
        assert deposit(13, "2", account="other") == [(term, "1", 1)]
        assert redemption(14, "0") == [(term, "1", -1)]
        assert redemption(8, "0") == [(term, "1", 0)]
        assert redemption(13, "3") == [], "late, and not the latest"
