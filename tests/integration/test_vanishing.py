"""Triples that a reorg takes away while cascade or analytics is just at work on them. The moments are made with row locks of the test's own."""
import pytest

from waiting import until

DELETE = "WITH gone AS (DELETE FROM triple_created_events WHERE term_id = %s RETURNING *) SELECT * FROM gone"


@pytest.fixture
def filled(pipeline, part):
    """A pipeline that has stored a part of the recording, and a triple of it with a vault."""
    pipeline.listen_to(part)
    pipeline.feed(part)
    services = pipeline.start(BACKFILL_INTERVAL_MS=300, WORKERS=1)
    pipeline.drain()
    with pipeline.connect() as connection:
        triple = connection.execute("""SELECT t.term_id, t.counter_term_id, t.predicate_id, t.object_id FROM triple t
                                       JOIN triple_vault v USING (term_id, counter_term_id) ORDER BY 1 LIMIT 1""").fetchone()
    return pipeline, dict(zip(("ingest", "cascade", "analytics"), services)), triple


def remove(connection, term):
    """As a reorg does: the row goes, the triggers tell cascade."""
    row = connection.execute(DELETE, (term,)).fetchone()
    assert row
    return row


def bring_back(connection, row):
    connection.execute(f"INSERT INTO triple_created_events VALUES ({', '.join(['%s'] * len(row))})", row)


def be_counter(connection, term):
    """Another triple's counter from now on, too."""
    connection.execute("""INSERT INTO triple_created_events SELECT (jsonb_populate_record(e, jsonb_build_object('counter_term_id', %s::text) ||
                          '{"transaction_hash": "0xanother"}')).* FROM triple_created_events e WHERE e.term_id <> %s ORDER BY term_id DESC LIMIT 1""", (term, term))


def waiters(connection):
    """How many sessions of the programs wait for a lock."""
    return connection.execute("""SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                                 WHERE NOT l.granted AND a.datname = current_database()""").fetchone()[0]


def assert_gone(pipeline, term):
    pipeline.drain()
    for name in ("cascade", "analytics"):   # the event itself is still in its stream: ingest verify misses it, and is right
        done = pipeline.run(name, "verify")
        assert done.returncode == 0, done.stdout
    with pipeline.connect() as connection:
        for table in ("triple_vault", "triple_term"):
            assert connection.execute(f"SELECT count(*) FROM {table} WHERE term_id = %s", (term,)).fetchone()[0] == 0


@pytest.mark.parametrize("lock", ["SELECT 1 FROM triple_vault WHERE term_id = %(term)s FOR UPDATE",
                                  "SELECT 1 FROM predicate_object WHERE (predicate_id, object_id) = (%(predicate)s, %(object)s) FOR UPDATE"],
                         ids=["between its tables", "at its pairs"])
def test_triple_goes_while_analytics_makes_it(filled, lock):
    pipeline, services, (term, counter, predicate, object_) = filled
    with pipeline.connect() as holder, pipeline.connect() as other, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute(lock, {"term": term, "predicate": predicate, "object": object_})
        # A price moves the triple: analytics begins on it and waits for the lock, with the triple in its snapshot.
        moved = other.execute("""UPDATE share_price_changed_events SET total_shares = '7', share_price = '3000000000000000000'
                                 WHERE term_id IN (%s, %s)""", (term, counter)).rowcount
        assert moved
        until(lambda: waiters(watcher), "analytics waits for the lock", alive=pipeline.alive())
        remove(other, term)
        until(lambda: watcher.execute("SELECT count(*) FROM vault_outbox").fetchone()[0] == 0, "cascade has told of it", alive=pipeline.alive())
        holder.rollback()
    assert_gone(pipeline, term)


@pytest.mark.parametrize("also", ["nothing else", "an atom", "a counter triple"])
def test_triple_that_comes_and_goes_between_two_looks_of_cascade(filled, also):
    pipeline, services, (term, *_) = filled
    with pipeline.connect() as connection:
        if also == "an atom":
            connection.execute("""INSERT INTO atom_created_events SELECT (jsonb_populate_record(e, jsonb_build_object('term_id', %s::text) ||
                                  '{"transaction_hash": "0xanother"}')).* FROM atom_created_events e LIMIT 1""", (term,))
        elif also == "a counter triple":
            be_counter(connection, term)
        pipeline.stop(services["analytics"])
        row = remove(connection, term)
        pipeline.drain(["ingest", "cascade"])
        pipeline.stop(services["cascade"])
        bring_back(connection, row)
        analytics = pipeline.start("analytics", BACKFILL_INTERVAL_MS=300)
        pipeline.drain(["analytics"])   # it sees the triple that is back, though cascade told it that it had gone
        pipeline.stop(analytics)
        remove(connection, term)
        pipeline.start("cascade", "analytics", BACKFILL_INTERVAL_MS=300)
    assert_gone(pipeline, term)


@pytest.mark.parametrize("also", ["nothing else", "a counter triple"])
def test_triple_goes_while_another_replica_makes_it_anew(filled, also):
    """The row that says "gone" is handled while the triple's rows are still another's uncommitted work: it must not be taken as done before those."""
    pipeline, services, _ = filled
    with pipeline.connect() as holder, pipeline.connect() as other, pipeline.connect() as watcher:
        term, predicate, object_ = other.execute("""
            SELECT t.term_id, t.predicate_id, t.object_id FROM triple t JOIN predicate_object p USING (predicate_id, object_id)
            WHERE p.triple_count > 1 ORDER BY 1 LIMIT 1""").fetchone()
        row = remove(other, term)
        if also == "a counter triple":
            be_counter(other, term)
        pipeline.drain()
        pipeline.start("analytics", BACKFILL_INTERVAL_MS=300, WORKERS=1).ready()
        holder.autocommit = False
        holder.execute("SELECT 1 FROM predicate_object WHERE (predicate_id, object_id) = (%s, %s) FOR UPDATE", (predicate, object_))
        bring_back(other, row)
        until(lambda: waiters(watcher), "a replica makes the triple's rows and waits at its pair", alive=pipeline.alive())
        first = watcher.execute("SELECT max(created_at) FROM term_outbox").fetchone()[0]
        remove(other, term)

        def handled():
            told = watcher.execute("SELECT count(*) FROM vault_outbox").fetchone()[0] == 0
            return waiters(watcher) > 1 or (told and not watcher.execute("SELECT count(*) FROM term_outbox WHERE created_at > %s", (first,)).fetchone()[0])
        until(handled, "the other replica waits for it, or has taken the row", alive=pipeline.alive())
        with other.transaction():   # as autovacuum does, which gives up where it would keep somebody waiting
            other.execute("LOCK TABLE triple_term IN SHARE UPDATE EXCLUSIVE MODE NOWAIT")
        holder.rollback()
    assert_gone(pipeline, term)


@pytest.mark.parametrize("table, key, lock, tell, take", [
    ("term", ("id",), "SELECT pg_advisory_xact_lock('vault_outbox'::regclass::oid::int, vault_bucket(%s))", "SELECT vault_tell_of_terms(ARRAY[%s], 0)",
     "DELETE FROM vault_outbox WHERE term_ids = ARRAY[%s]"),
    ("triple_term", ("term_id", "counter_term_id"), "SELECT FROM triple_term WHERE term_id = %s FOR UPDATE",
     "INSERT INTO term_outbox (term_id, block_number) VALUES (%s, 0)", "DELETE FROM term_outbox WHERE term_id = %s"),
], ids=["term", "triple"])
def test_row_goes_while_its_stage_waits_for_it(filled, table, key, lock, tell, take):
    """What waited was done by somebody else, for whom the stage waited: the row that went must not come back, with the lock (triple_term) or without."""
    pipeline, services, _ = filled
    ids = ["0x" + digit * 64 for digit in "ab"[:len(key)]]
    columns, values = ", ".join(key), ", ".join(["%s"] * len(key))
    with pipeline.connect() as holder, pipeline.connect() as other, pipeline.connect() as watcher:
        other.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})", ids)
        holder.autocommit = False
        holder.execute(lock, ids[:1])
        other.execute(tell, ids[:1])   # the backfill queues it
        until(lambda: waiters(watcher), "the stage waits for the row", alive=pipeline.alive())
        assert holder.execute(take, ids[:1]).rowcount == 1
        holder.execute(f"DELETE FROM {table} WHERE ({columns}) = ({values})", ids)
        holder.commit()
        pipeline.drain()
        assert watcher.execute(f"SELECT count(*) FROM {table} WHERE ({columns}) = ({values})", ids).fetchone()[0] == 0
    for name in ("cascade", "analytics"):
        done = pipeline.run(name, "verify")
        assert done.returncode == 0, done.stdout
