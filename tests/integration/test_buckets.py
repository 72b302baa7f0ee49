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
