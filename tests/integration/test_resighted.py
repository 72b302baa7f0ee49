"""Events and notices that come again, or of a network that is not ours, at the moment where that is hard; and values at the edge."""
import pytest

import chain
import feeds
from feeds import Message
from programs import SERVICES
from proxy import Proxy, Trap
from test_sequences import NETWORK, STREAM, about, deposit, deposits, id32, notice, pending
from waiting import until


def price(transaction, number=10, hash_=10, term=1):
    return {"termId": id32(term), "curveId": "1", "sharePrice": "7", "totalAssets": "3", "totalShares": "2", "vaultType": 0,
            "transaction_information": about(number, hash_, transaction)}


def orphaned(pipeline):
    with pipeline.connect() as connection:
        return connection.execute("SELECT transaction_hash, reason FROM orphaned_events ORDER BY 1").fetchall()


def foreign_notice_first(pipeline):
    """An event of ours, behind it a notice of another network, which is handled first: while no network is known."""
    client = pipeline.redis()
    for stream in pipeline.streams:
        client.xgroup_create(stream, pipeline.group, id="0", mkstream=True)
    pipeline.feed([deposits(deposit(1, term=1), stream="a", id="1000-0")])
    feeds.write(client, [notice(5, 1, network="other", stream="a", id="2000-0")])
    client.xreadgroup(pipeline.group, "late-0", {"a": ">"}, count=1)
    early = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="early", CLAIM_IDLE_MS=3600000)
    until(lambda: client.xinfo_groups("a")[0]["lag"] == 0 and pending(pipeline, "a") == 1, "the notice is handled", alive=[early])
    pipeline.stop(early)
    late = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="late", CLAIM_IDLE_MS=3600000)
    until(lambda: pending(pipeline, "a") == 0, "the event is handled", alive=[late])


def test_notice_of_another_network_before_the_network_is_known(pipeline):
    """The event that pinned the network was judged by that notice: it stood, and was orphaned; a later notice of ours met it twice (23505)."""
    pipeline.streams = ["a", "b"]
    pipeline.migrate()
    foreign_notice_first(pipeline)
    assert orphaned(pipeline) == []
    pipeline.start("cascade", "analytics")
    pipeline.feed([Message("b", "SharePriceChanged", (price(2),), id="3000-0")])
    pipeline.drain()
    pipeline.feed([notice(5, 1, stream="b", id="9000-0")])
    pipeline.drain()
    assert pipeline.dead_letters() == []
    pipeline.assert_exact()


def test_notices_of_another_network_beside_the_first_event(pipeline):
    """Whichever of the workers is first, no notice of another network says anything of ours."""
    pipeline.streams = ["a"]
    pipeline.migrate()
    pipeline.feed([deposits(deposit(1, term=1), stream="a", id="1000-0")])
    feeds.write(pipeline.redis(), [notice(5, depth, network="other", stream="a", id=f"{2000 + depth}-0") for depth in range(1, 20)])
    pipeline.start("ingest")
    pipeline.drain(["ingest"])
    assert orphaned(pipeline) == []
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM reorgs").fetchone() == (0,)
    assert {letter["error_class"] for letter in pipeline.dead_letters()} <= {"network"}


def test_double_of_a_standing_event_is_found_and_mended(pipeline):
    """An event that stands and is orphaned, too, whatever made it so: verify says it, rebuild ends it."""
    pipeline.streams = [STREAM]
    pipeline.start()
    pipeline.feed([deposits(deposit(1))])
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("""INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row,
                                      stream, stream_ms, stream_seq, reason)
                              SELECT 'deposited_events', transaction_hash, log_index, block_hash, block_number, to_jsonb(d), stream, stream_ms,
                                      stream_seq, 'reorg' FROM deposited_events d""")
    found = pipeline.run("ingest", "verify")
    assert found.returncode == 1, found.stdout
    assert pipeline.run("ingest", "rebuild").returncode == 0
    assert orphaned(pipeline) == []
    pipeline.drain()
    pipeline.assert_exact()
    assert pipeline.run("ingest", "verify").returncode == 0


def test_row_that_no_stream_held_while_its_block_is_judged_anew(pipeline):
    """rebuild took a row away that stood in no stream; then its event comes after all, and a notice of another stream re-evaluates its block:
    what had been taken away was put back beside it."""
    pipeline.streams = ["a", "b"]
    pipeline.start(BACKFILL_INTERVAL_MS=300)
    pipeline.feed([deposits(deposit(1), stream="a"), deposits(deposit(2, number=11, hash_=11, account=2), stream="a")])
    pipeline.drain()
    with pipeline.connect() as connection:   # nobody's row, in the place of an event to come
        connection.execute("""INSERT INTO deposited_events SELECT (jsonb_populate_record(d, jsonb_build_object(
                              'transaction_hash', %s::text, 'shares', '99'))).* FROM deposited_events d WHERE transaction_hash = %s""",
                           (id32(3), id32(2)))
    assert pipeline.run("ingest", "rebuild").returncode == 0
    assert orphaned(pipeline) == [(id32(3), "not in stream")]
    pipeline.feed([deposits(deposit(3, number=11, hash_=11, account=2), stream="a"), Message("b", "SharePriceChanged", (price(20, 11, 11),))])
    pipeline.drain()
    pipeline.assert_exact()
    pipeline.feed([notice(5, 1, stream="b")])
    pipeline.drain()
    assert pipeline.dead_letters() == []
    pipeline.assert_exact()


@pytest.mark.parametrize("way", ["notice", "event"])
def test_killed_between_commit_and_publish(make_pipeline, redis_server, way):
    """What is redelivered queues the keys of all rows that it moved, though it moves none any more. (The backfill is far away.)"""
    pipeline = make_pipeline(CLAIM_IDLE_MS=300, BACKFILL_INTERVAL_MS=3600000).migrate()
    pipeline.streams = [STREAM]
    pipeline.start("cascade", "analytics")
    first = pipeline.start("ingest", WORKERS=1)
    # the last one also stands in an earlier block, with another term: the notice brings that version back
    pipeline.feed([*[deposits(deposit(n, term=n)) for n in range(1, 6)],
                   deposits(deposit(6, number=4, hash_=4, term=7)), deposits(deposit(6, term=6))])
    pipeline.drain()
    if way == "event":
        pipeline.feed([notice(5, 1), notice(5, 2)])
        pipeline.drain()
    pipeline.assert_exact()
    pipeline.stop(first)
    proxy = Proxy(redis_server.port)
    doomed = pipeline.start("ingest", WORKERS=1, REDIS_URL=proxy.url(redis_server.url(pipeline.redis_db))).ready()
    trap = proxy.set(Trap(request=rb"MULTI"))
    pipeline.feed([notice(5, 1)] if way == "notice" else [deposits(deposit(1, term=1))])
    assert trap.reached.wait(60)
    doomed.kill()
    proxy.close()
    again = pipeline.start("ingest", WORKERS=1)
    until(lambda: "claimed" in again.messages(), "the entry is claimed", alive=[again])
    pipeline.drain()
    pipeline.assert_exact()


@pytest.mark.parametrize("first", [4, 7])
@pytest.mark.parametrize("way", ["alone", "beside a bad one", "under two numbers", "twice", "again", "behind a notice", "rebuilt"])
def test_two_versions_in_one_entry(pipeline, way, first):
    """The first of them stands, whatever else is in the batch and however often it comes."""
    pipeline.streams = [STREAM]
    second = 11 - first
    versions = [deposit(1, number=first, hash_=first, term=first), deposit(1, number=second, hash_=second, term=second)]
    others = [deposit(n, number=6, hash_=6, term=n) for n in (2, 3)]
    pipeline.start()
    if way == "beside a bad one":   # the batch is split until that one is alone
        pipeline.drain()
        with pipeline.connect() as connection:
            connection.execute("ALTER TABLE deposited_events ADD CHECK (block_number <> 6)")
    if way == "twice":
        pipeline.feed([deposits(*reversed(versions)), deposits(versions[0], *others, versions[1], *versions)])
    elif way == "under two numbers":   # which no chain has, for one hash; nothing may wait for it
        pipeline.feed([deposits(*versions, deposit(1, number=first + 1, hash_=first, term=first)), deposits(*others)])
    elif way == "behind a notice":
        pipeline.feed([deposits(*reversed(versions)), notice(first, 1), deposits(*versions)])
    else:
        pipeline.feed([deposits(*versions, *others, versions[0])])
    pipeline.drain()
    if way in ("again", "rebuilt"):
        pipeline.stop()
        if way == "again":
            pipeline.redis().xgroup_setid(STREAM, pipeline.group, "0")
        else:
            with pipeline.connect() as connection:
                connection.execute("DELETE FROM deposited_events")
                connection.execute("TRUNCATE orphaned_events, repeated_sightings")
            for name in SERVICES:
                assert pipeline.run(name, "rebuild").returncode == 0
        pipeline.start()
        pipeline.drain()
    if way == "beside a bad one":
        with pipeline.connect() as connection:
            assert connection.execute("SELECT block_number FROM deposited_events").fetchall() == [(first,)]
    else:
        pipeline.assert_exact()


@pytest.mark.parametrize("first", [4, 7])
def test_two_versions_in_one_entry_wherever_its_batch_is_halved(pipeline, first):
    """Bad events before and behind them, so that a batch is halved at every place among them: the first stands, and verify agrees."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE deposited_events ADD CHECK (block_number <> 6)")
    service = pipeline.start("ingest", WORKERS=1, MAX_RETRIES=1)
    shapes = [(before, behind, doubled) for before in range(3) for behind in range(3) for doubled in (0, 1) if before + behind]
    for n, (before, behind, doubled) in enumerate(shapes):
        at = 100 * (n + 1)
        versions = [deposit(at, number=number, hash_=number, term=n + 1) for number in (first, 11 - first)]
        bad = [deposit(at + k, number=6, hash_=6, term=n + 1) for k in [*range(-before, 0), *range(1, behind + 1)]]
        pipeline.feed([deposits(*versions, *bad, *versions[:doubled])])
        pipeline.drain(["ingest"])
    pipeline.stop(service)
    with pipeline.connect() as connection:
        assert connection.execute("SELECT array_agg(DISTINCT block_number), count(*) FROM deposited_events").fetchone() == ([first], len(shapes))
        assert connection.execute("SELECT count(*) FROM orphaned_events").fetchone() == (len(shapes),)
    assert len(pipeline.dead_letters()) == len(shapes)
    verified = pipeline.run("ingest", "verify").stdout.splitlines()
    assert all("the row is missing" in line and '"block_number": 6' in line for line in verified), "the bad ones, and nothing else"


def test_an_orphaned_row_is_the_same_whichever_way_it_came(make_pipeline, seed):
    """Stored first, then taken away by a notice; or handled with the notice, which is known then."""
    messages = chain.messages(chain.Chain(seed, null_timestamps=0.2).events, stream=STREAM)
    end = notice(0, 1)
    rows = []
    for apart in (True, False):
        pipeline = make_pipeline()
        pipeline.streams = [STREAM]
        pipeline.feed(messages + [end] * (not apart))
        pipeline.start("ingest", WORKERS=1)
        pipeline.drain(["ingest"])
        if apart:
            pipeline.feed([end])
            pipeline.drain(["ingest"])
        with pipeline.connect() as connection:
            rows.append(connection.execute("""SELECT source_table, transaction_hash, log_index, block_hash, reason,
                                                     event_row - ARRAY['stream_ms', 'stream_seq', 'created_at']
                                              FROM orphaned_events ORDER BY 1, 2, 3, 4""").fetchall())
    assert len(rows[0]) > 100 and len({row[0] for row in rows[0]}) == 6
    assert rows[0] == rows[1]


# 2^40 is the last; a double holds microseconds of these only to the nearest 64
LATE = [1099511627775, 900000000001, 577407588001, 600000000003]


def test_late_times_are_the_same_by_every_way(pipeline):
    """New events come by COPY, repeated and generic ones by INSERT, orphaned ones as JSON."""
    pipeline.streams = [STREAM]
    pipeline.start(WORKERS=1)
    for n, time in enumerate(LATE):
        pipeline.feed([Message(STREAM, "Unheard", ({"a": 1, "transaction_information": about(10, 10, 100 + n, time=time)},)),
                       deposits(deposit(200 + n, term=n + 1, time=time))])
        pipeline.drain()
        pipeline.feed([deposits(deposit(200 + n, term=n + 1, time=time), deposit(300 + n, term=n + 11, time=time))])
        pipeline.drain()
    pipeline.assert_exact()
    assert pipeline.run("ingest", "verify").returncode == 0
    pipeline.feed([notice(5, 1), notice(5, 2)])
    pipeline.drain()
    pipeline.feed([deposits(deposit(200 + n, term=n + 1, time=time)) for n, time in enumerate(LATE)])
    pipeline.drain()
    pipeline.assert_exact()


def test_entry_with_an_id_above_what_postgresql_counts_to(pipeline):
    """It is a dead letter, also as the first of all; its event neither pins the network nor is missed by verify."""
    pipeline.streams = [STREAM]
    pipeline.feed([deposits(deposit(1), id=f"{2**63}-1")])
    service = pipeline.start("ingest", WORKERS=1)
    until(pipeline.dead_letters, "the dead letter", alive=[service])
    pipeline.stop(service)
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pinned_network").fetchone() == (0,)
    service = pipeline.start("ingest", WORKERS=1, NETWORK=NETWORK)
    service.ready()
    verified = pipeline.run("ingest", "verify")
    assert verified.returncode == 0, verified.stdout
    assert pipeline.run("ingest", "rebuild").returncode == 0
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone() == (0,)
