"""Statements by hand on the event tables, beside the workers."""
import threading

import psycopg
import pytest

from test_sequences import STREAM, deposit, deposits, id32
from waiting import until


@pytest.mark.parametrize("statement", ["DELETE FROM deposited_events WHERE transaction_hash = %s",
                                       "UPDATE deposited_events SET assets_after_fees = '7' WHERE transaction_hash = %s"])
def test_event_changed_by_hand_beside_a_batch(pipeline, statement):
    """A batch has its shared lock and is about to write the position whose event somebody takes away or changes: one waits, nobody deadlocks."""
    pipeline.streams = [STREAM]
    ingest = pipeline.start("ingest")
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain(["ingest"])
    pipeline.stop(ingest)
    problems = []
    with pipeline.connect() as hand, pipeline.connect() as batch, pipeline.connect() as watcher:
        batch.autocommit = False
        batch.execute("SELECT event_lock(false)")

        def change():
            try:
                hand.execute(statement, (id32(1),))
            except psycopg.Error as problem:
                problems.append(problem)
        thread = threading.Thread(target=change)
        thread.start()
        until(lambda: problems or watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0], "it waits for the batch")
        try:
            batch.execute("""INSERT INTO deposited_events SELECT (jsonb_populate_record(e, jsonb_build_object('transaction_hash', %s::text))).*
                             FROM deposited_events e""", (id32(2),))
            batch.commit()
        except psycopg.Error as problem:
            batch.rollback()
            problems.append(problem)
        thread.join()
    assert problems == []
    assert pipeline.deadlocks() == 0
