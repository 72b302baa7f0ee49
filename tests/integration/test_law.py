"""What somebody else does at the worst moment, shown with sessions side by side; and states of the database that nobody should make."""
import json
import threading

import pytest

from feeds import Message
from test_sequences import STREAM, atom, deposit, deposits, id32, notice, pending
from waiting import until


def atoms(*events, **how):
    return Message(STREAM, "AtomCreated", tuple(events), **how)


def waiting(connection):
    return connection.execute("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()"
                              ).fetchone()[0]


@pytest.mark.parametrize("way", ["same log index", "another log index", "another transaction"])
def test_a_label_written_while_an_atom_moves_to_another_block(pipeline, way):
    """A straggler's block comes to life again behind a second notice: the atom's row is written, and an enricher waits for it."""
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest", WORKERS=1)
    again = atom(1 if way != "another transaction" else 2, number=11, hash_=11, log_index=1 if way != "another log index" else 5)
    pipeline.feed([notice(11, 1, id="1000000-0"), atoms(atom(1), id="2000000-0")])
    pipeline.feed([notice(9, 1, id="3000000-0")])
    pipeline.drain(["ingest"])
    pipeline.stop(service)
    with pipeline.connect() as connection:   # the old block is orphaned, the new one not yet seen: there is no atom
        assert connection.execute("SELECT count(*) FROM atom").fetchone() == (0,)
    pipeline.feed([atoms(atom(1), id="4000000-0"), atoms(atom(1), id="5000000-0")])
    service = pipeline.start("ingest", WORKERS=1)
    pipeline.drain(["ingest"])
    pipeline.stop(service)
    with pipeline.connect() as connection:
        connection.execute("""INSERT INTO atom_created_events SELECT (jsonb_populate_record(NULL::atom_created_events, event_row)).* FROM orphaned_events""")
        connection.execute("DELETE FROM orphaned_events")
        assert connection.execute("SELECT count(*) FROM atom").fetchone() == (1,)
        # one version stands and is to go; another one is away and is to come: what a notice between the two branches leaves to be done
        event = connection.execute("SELECT to_jsonb(e) FROM atom_created_events e").fetchone()[0]
        place = again["transaction_information"]
        event.update(block_hash=place["block_hash"], block_number=place["block_number"], transaction_hash=place["transaction_hash"],
                     log_index=place["log_index"], stream_ms=9000000)
        connection.execute("""INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row, stream, stream_ms,
                                      stream_seq, reason) VALUES ('atom_created_events', %s, %s, %s, %s, %s, 's', 9000000, 0, 'reorg')""",
                           (event["transaction_hash"], event["log_index"], event["block_hash"], event["block_number"], json.dumps(event)))
        with pipeline.connect() as enricher, pipeline.connect() as watcher:
            connection.autocommit = False
            connection.execute("SELECT event_lock(true)")
            connection.execute("SELECT event_settle(ARRAY[10, 11]::bigint[], ARRAY[%s, %s]::text[])", (id32(10), id32(11)))
            assert connection.execute("SELECT block_number FROM atom_created_events").fetchall() == [(11,)]
            label = threading.Thread(target=lambda: enricher.execute("UPDATE atom SET label = 'name' WHERE term_id = %s", (id32(1),)))
            label.start()
            until(lambda: waiting(watcher), "the enricher waits")
            connection.commit()
            label.join()
            assert watcher.execute("SELECT label, last_event_block FROM atom").fetchall() == [("name", 11)]


def test_pinning_waits_for_a_notice_that_is_being_recorded(pipeline):
    """NETWORK is pinned by a service that starts, while a notice of another network is not committed yet: it would stay, and orphan, for ever."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as other, pipeline.connect() as watcher:
        other.autocommit = False
        other.execute("SELECT event_lock(true)")
        other.execute("SELECT * FROM reorg_take('s', 1, 0, 'other', 0, 1, '{}', 0, false)")
        service = pipeline.start("ingest", NETWORK="intuition-testnet")
        until(lambda: waiting(watcher) or watcher.execute("SELECT count(*) FROM pinned_network").fetchone() == (1,), "it pins", alive=[service])
        other.commit()
        until(lambda: watcher.execute("SELECT count(*) FROM pinned_network").fetchone() == (1,), "it has pinned", alive=[service])
        assert watcher.execute("SELECT count(*) FROM reorgs").fetchone() == (0,)


def test_a_collision_on_a_key_of_our_own_is_no_fault_of_the_message(pipeline):
    """A key that only the database's state can violate: the message waits, and is stored once the state is mended."""
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest", WORKERS=1)
    pipeline.feed([deposits(deposit(1)), deposits(deposit(2, account=2))])
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        connection.execute("CREATE UNIQUE INDEX own ON orphaned_events (stream)")
        pipeline.feed([notice(5, 1)])
        until(lambda: "23505" in service.messages() or pipeline.dead_letters(), "it is refused", alive=[service])
        assert not pipeline.dead_letters() and pending(pipeline) == 1
        connection.execute("DROP INDEX own")
        pipeline.drain(["ingest"])
        assert not pipeline.dead_letters()
        assert connection.execute("SELECT count(*) FROM orphaned_events").fetchone() == (2,)


def test_tables_of_ours_need_no_sequence(pipeline):
    """A logical move leaves sequences behind."""
    pipeline.migrate()
    with pipeline.connect() as connection:
        owners = connection.execute("""SELECT d.refobjid::regclass::text FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i')
                                       AND d.refclassid = 'pg_class'::regclass WHERE s.relkind = 'S'""").fetchall()
    assert owners == []


def test_tables_have_a_replica_identity(pipeline):
    """CREATE PUBLICATION … FOR ALL TABLES refuses updates and deletes of those that have none."""
    pipeline.migrate()
    with pipeline.connect() as connection:
        without = connection.execute("""SELECT relname FROM pg_class c WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relreplident = 'd'
                                        AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)""").fetchall()
    assert without == []


DAMAGES = {
    "a notice is gone": "DELETE FROM reorgs WHERE counts",
    "a notice too many": "INSERT INTO reorgs SELECT e.stream, e.stream_ms, e.stream_seq, e.network, 0, 1, '{}', true FROM deposited_events e LIMIT 1",
    "a notice does not count": "UPDATE reorgs SET counts = false",
    "a notice of another depth": "UPDATE reorgs SET depth = depth + 1 WHERE counts",
    "a sighting is gone": "DELETE FROM repeated_sightings WHERE (stream, stream_ms) = (SELECT stream, max(stream_ms) FROM repeated_sightings GROUP BY 1)",
    "a sighting too many": """INSERT INTO repeated_sightings SELECT 'deposited_events', d.transaction_hash, d.log_index, d.block_hash, d.block_number, r.stream,
                              r.stream_ms, r.stream_seq FROM reorgs r, deposited_events d WHERE r.counts LIMIT 1""",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_judges_notices_and_sightings(pipeline, damage):
    """What the rows of reorgs and repeated_sightings say is not taken on trust: the streams hold them, too."""
    pipeline.streams = [STREAM]
    pipeline.start()
    pipeline.feed([deposits(deposit(1), deposit(2, account=2)), notice(10, 1, id=None), deposits(deposit(1)), notice(10, 1, id=None), notice(10, 2, id=None),
                   deposits(deposit(1), deposit(3, number=12, hash_=12, account=3)), deposits(deposit(3, number=12, hash_=12, account=3))])
    pipeline.drain()
    assert pipeline.run("ingest", "verify").returncode == 0
    with pipeline.connect() as connection:
        before = connection.execute("SELECT count(*) FROM deposited_events").fetchone()
        assert connection.execute(DAMAGES[damage]).rowcount > 0
    found = pipeline.run("ingest", "verify")
    assert found.returncode == 1 and ("reorgs stream=" in found.stdout or "sighting" in found.stdout), found.stdout
    assert pipeline.run("ingest", "rebuild").returncode == 0
    pipeline.drain().assert_exact()
    assert pipeline.run("ingest", "verify").returncode == 0
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone() == before


def test_a_frozen_client_does_not_hold_all_others_up(pipeline):
    """An ingest that is stopped in the middle of COPY, where no timeout of PostgreSQL fires: a notice waits for it, all others wait behind that."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    client = pipeline.connect()
    frozen, backend = client.pgconn, client.info.backend_pid
    for statement in (b"BEGIN", b"SELECT event_lock(false)", b"COPY deposited_events FROM STDIN"):
        frozen.exec_(statement)
    with pipeline.connect() as watcher:
        watcher.execute("CREATE OR REPLACE FUNCTION event_lock_patience() RETURNS INTERVAL LANGUAGE sql IMMUTABLE AS $$ SELECT interval '1 second' $$")
        service = pipeline.start("ingest")
        pipeline.feed([deposits(deposit(1)), notice(5, 1), deposits(deposit(2, number=20, hash_=20, account=2)), deposits(deposit(3, number=30, hash_=30))])
        pipeline.drain(["ingest"])
        assert watcher.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (backend,)).fetchone() == (0,)
        assert "takes longer" not in service.messages()
    frozen.finish()
