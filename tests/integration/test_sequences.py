"""Sequences of steps after which, once, a row was wrong, an entry stranded or a dead letter missing."""
import subprocess
import threading

import pytest

import feeds
import oracle
from feeds import Message
from programs import clean_environment, executable
from proxy import Proxy, Trap
from waiting import until

NETWORK = "intuition-testnet"
STREAM = "s"


def id32(n):
    return "0x" + f"{n:064x}"


def about(number, hash_, transaction, log_index=1, network=NETWORK, time=1_700_000_000):
    return {"chain_id": 13579, "network": network, "address": "0x" + "c6e7df5e" * 5, "block_hash": id32(hash_), "block_number": number,
            "block_timestamp": time, "transaction_hash": id32(transaction), "log_index": log_index, "transaction_index": 0}


def deposit(transaction, number=10, hash_=10, term=1, account=1, shares=5, **how):
    return {"sender": "0x" + f"{account:040x}", "receiver": "0x" + f"{account:040x}", "termId": id32(term), "curveId": "1", "assets": "9",
            "assetsAfterFees": "8", "shares": str(shares), "totalShares": str(shares), "vaultType": 0,
            "transaction_information": about(number, hash_, transaction, **how)}


def deposits(*events, id=None, stream=STREAM):
    return Message(stream, "Deposited", tuple(events), id=id)


def atom(transaction, number=10, hash_=10, term=1, **how):
    return {"creator": "0x" + "11" * 20, "termId": id32(term), "atomData": "0x61", "atomWallet": "0x" + "22" * 20,
            "transaction_information": about(number, hash_, transaction, **how)}


def notice(fork, depth, network=NETWORK, id=None, stream=STREAM):
    return Message(stream, "__rindexer_reorg", ({"type": "reorg", "network": network, "fork_block": fork, "depth": depth, "events_deleted": 0,
                                                 "affected_tx_hashes": [], "affected_events": []},), id=id)


def lock_positions(connection, *accounts, term=1):
    """Whoever deposits for these accounts waits. (Of digits only: there EIP-55 has nothing to capitalise.)"""
    connection.autocommit = False
    for account in accounts:
        connection.execute("""INSERT INTO position (account_id, term_id, curve_id, last_event_block, last_event_log_index, last_event_transaction,
                                      first_is_deposit, first_event_block, first_event_log_index, count_delta, created_at, updated_at)
                              VALUES (%s, %s, '1', 0, 0, '', true, 0, 0, 0, now(), now())""", ("0x" + f"{account:040x}", id32(term)))


def pending(pipeline, stream=STREAM):
    """0 where stream or group are not made yet: a worker makes them, a moment after its program is ready."""
    client = pipeline.redis()
    return sum(group["pending"] for group in (client.xinfo_groups(stream) if client.exists(stream) else ()) if group["name"] == pipeline.group)


def scripts_run(client, more):
    """Waits until Redis has run so many scripts more: housekeeping looks at pending entries and trims by scripts."""
    def count():
        return client.info("commandstats").get("cmdstat_eval", {"calls": 0})["calls"]
    before = count()
    until(lambda: count() >= before + more, f"{more} more scripts have run")


def waits_begun(watcher, seen):
    """Adds to seen the statements that wait for a lock; returns how many different ones there were."""
    seen |= set(watcher.execute("""SELECT pid, query_start FROM pg_stat_activity
                                   WHERE wait_event_type = 'Lock' AND datname = current_database()""").fetchall())
    return len(seen)


def test_slow_event_beside_a_bad_one_in_a_message(pipeline):
    """The dead letter of the bad event acks the message though its good event was only put off for being slow."""
    pipeline.streams = [STREAM]
    pipeline.start(PROCESSING_TIMEOUT_MS=1000, WORKERS=1, BACKFILL_INTERVAL_MS=300)
    pipeline.feed([deposits(deposit(1, term=1))])
    pipeline.drain()
    with pipeline.connect() as holder:
        lock_positions(holder, 3)
        bad = {**deposit(2, term=2), "assets": "no number"}
        pipeline.redis().xadd(STREAM, {"payload": deposits(bad, deposit(3, term=1, account=3)).payload()})
        until(lambda: pipeline.dead_letters() or pipeline.services[0].messages().count("takes longer") > 1, "the message is tried twice")
        letters_while_slow = pipeline.dead_letters()
        holder.rollback()
    until(lambda: pending(pipeline) == 0, "all is acked")
    pipeline.drain()
    with pipeline.connect() as connection:
        stored = connection.execute("SELECT count(*) FROM deposited_events WHERE transaction_hash = %s", (id32(3),)).fetchone()[0]
    assert len(pipeline.dead_letters()) == 1
    assert stored == 1, f"the good event of a message is gone: acked, not stored ({len(letters_while_slow)} letters while it was slow)"


def test_replay_leaves_out_what_is_slow(pipeline):
    pipeline.streams = [STREAM]
    ingest = pipeline.start("ingest", WORKERS=1)
    pipeline.feed([deposits(deposit(1, term=1)), deposits(deposit(2, term=1, account=2)), deposits(deposit(3, term=3, account=3))])
    pipeline.drain(["ingest"])
    pipeline.stop(ingest)
    with pipeline.connect() as connection, pipeline.connect() as holder:
        seen = set()
        connection.execute("DELETE FROM deposited_events WHERE transaction_hash = %s", (id32(2),))   # what replay is to mend
        lock_positions(holder, 2)
        replay = subprocess.Popen([executable("ingest"), "replay"], env=clean_environment(pipeline.environment({"PROCESSING_TIMEOUT_MS": 300})),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: waits_begun(connection, seen) > 4 or replay.poll() is not None, "it is tried over and over")
        holder.rollback()
        _, err = replay.communicate(timeout=60)
        stored = connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0]
    assert replay.returncode != 0 or stored == 3, f"replay exits 0 and has stored {stored} of 3\n{err}"


@pytest.mark.parametrize("together", [False, True])
def test_two_plain_sightings_that_change_a_block_together(pipeline, together):
    """Block seen in epochs 0, 1, 2, 3: not live. Handled: 1 and 3 first (live), then 2 (alone: still live) and 0 (alone: still live) at once."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    client = pipeline.redis()
    client.xgroup_create(STREAM, pipeline.group, id="0", mkstream=True)
    seen = lambda at: deposits(deposit(1), id=f"{at}000000-0")
    pipeline.feed([seen(1), notice(5, 1, id="2000000-0"), seen(3), notice(5, 2, id="4000000-0"), seen(5), notice(5, 3, id="6000000-0"), seen(7)])
    # sightings of epochs 0 and 2 are with consumers that died
    for _ in range(7):
        (_, ((id_, _),)), = client.xreadgroup(pipeline.group, "probe", {STREAM: ">"}, count=1)
        client.xclaim(STREAM, pipeline.group, "dead" if id_ in ("1000000-0", "5000000-0") else "r-0", 0, [id_])
    ingest = pipeline.start("ingest", CONSUMER_NAME="r", WORKERS=1)
    until(lambda: pending(pipeline) == 2, "the others are handled", alive=[ingest])
    pipeline.stop(ingest)
    with pipeline.connect() as connection, pipeline.connect() as watcher:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0] == 1
        client.xclaim(STREAM, pipeline.group, "a-0", 0, ["1000000-0"])
        client.xclaim(STREAM, pipeline.group, "b-0", 0, ["5000000-0"])
        if together:
            connection.autocommit = False
            connection.execute("LOCK TABLE repeated_sightings IN EXCLUSIVE MODE")   # a moment between guard and commit
            two = [pipeline.start("ingest", CONSUMER_NAME=name, WORKERS=1) for name in "ab"]
            until(lambda: watcher.execute("""SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                                             WHERE NOT l.granted AND a.datname = current_database()""").fetchone()[0] == 2,
                  "both wait", alive=two)
            connection.rollback()
        else:
            for name in "ab":
                service = pipeline.start("ingest", CONSUMER_NAME=name, WORKERS=1)
                until(lambda: pending(pipeline) == (1 if name == "a" else 0), "done", alive=[service])
    pipeline.start("cascade", "analytics", BACKFILL_INTERVAL_MS=300)
    pipeline.drain()
    differences = pipeline.differences()
    assert not differences, oracle.report(differences)


def test_entries_behind_a_slow_one_are_stranded(pipeline):
    """A worker starts with its own pending entries: one is slow, the others are not. `nothing waits for it`."""
    pipeline.streams = [STREAM]
    first = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="r")
    pipeline.feed([deposits(deposit(1, term=1))])
    pipeline.drain(["ingest"])
    pipeline.stop(first)
    pipeline.feed([deposits(deposit(2, term=1, account=2))] + [deposits(deposit(n, term=n, account=n)) for n in range(100, 160)])
    pipeline.redis().xreadgroup(pipeline.group, "r-0", {STREAM: ">"})   # a life of this worker that ended after its read
    with pipeline.connect() as holder:
        lock_positions(holder, 2)
        service = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="r", PROCESSING_TIMEOUT_MS=500, BATCH_SIZE=5)
        try:
            until(lambda: pending(pipeline) == 1, "only the slow one is pending", alive=[service], patience=75)
        finally:
            print("pending", pending(pipeline))
            holder.rollback()


def test_reset_while_the_input_is_trimmed(pipeline):
    """replay --reset has looked: the streams hold all. Then, before the tables are empty, the service trims."""
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest", TRIM_INPUT="true", STREAM_RETENTION_ENTRIES=5, WORKERS=1)
    pipeline.feed([deposits(deposit(n, term=n, account=n)) for n in range(1, 5)])
    pipeline.drain(["ingest"])
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.autocommit = False
        holder.execute("SELECT count(*) FROM atom")   # somebody's query: TRUNCATE waits
        reset = subprocess.Popen([executable("ingest"), "replay", "--reset"], env=clean_environment(pipeline.environment()),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: waits_begun(watcher, set()), "the reset waits")
        pipeline.feed([deposits(deposit(n, term=n, account=n)) for n in range(11, 31)])
        pipeline.drain(["ingest"])
        with pipeline.redis().monitor() as monitor:   # two rounds of the trimming
            for _ in range(2):
                next(True for seen in monitor.listen() if "XTRIM" in seen["command"] and "EVAL" in seen["command"])
        assert reset.poll() is None
        holder.rollback()
    _, err = reset.communicate(timeout=60)
    pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        stored = connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0]
    assert stored == 24, f"exit {reset.returncode}, {stored} of 24 events are left\n{err}"


def test_two_networks_race_for_the_pin(pipeline):
    """Another replica is just pinning network A (its transaction is open); this one stores an event of B all the same."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as other, pipeline.connect() as watcher:
        other.autocommit = False
        other.execute("INSERT INTO pinned_network (network) VALUES ('A')")
        pipeline.redis().xadd(STREAM, {"payload": deposits(deposit(1, network="B")).payload()})
        service = pipeline.start("ingest", WORKERS=1)
        until(lambda: watcher.execute("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted"
                                      " AND a.datname = current_database()").fetchone()[0], "it waits at the pin", alive=[service])
        other.commit()
        until(lambda: pending(pipeline) == 0 and pipeline.dead_letters(), "handled", alive=[service])
        stored = watcher.execute("SELECT network FROM deposited_events").fetchall()
    assert stored == [], f"stored {stored} though the network is A; dead letters: {[l['error'] for l in pipeline.dead_letters()]}"


@pytest.mark.parametrize("first", ["event", "notice"])
def test_notice_of_another_network_before_the_pin(pipeline, first):
    pipeline.streams = [STREAM]
    pipeline.migrate()
    client = pipeline.redis()
    client.xgroup_create(STREAM, pipeline.group, id="0", mkstream=True)
    pipeline.feed([deposits(deposit(1, number=10)), notice(5, 1, network="elsewhere")])
    if first == "notice":
        client.xreadgroup(pipeline.group, "dead", {STREAM: ">"}, count=1)
    service = pipeline.start("ingest", WORKERS=1, CLAIM_IDLE_MS=3000)
    until(lambda: client.xinfo_groups(STREAM)[0]["lag"] == 0 and pending(pipeline) == 0, "handled", alive=[service])
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0] == 1
        assert connection.execute("SELECT count(*) FROM reorgs").fetchone()[0] == 0



def test_enrichment_that_was_taken_back_stays_away(pipeline):
    pipeline.streams = [STREAM]
    pipeline.start("ingest")
    created = lambda: Message(STREAM, "AtomCreated", (atom(1),))

    def step(message):
        pipeline.feed([message])
        pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        step(created())
        connection.execute("UPDATE atom SET label = 'wrong', resolving_status = 'Resolved'")
        step(notice(5, 1))
        step(notice(5, 2))
        step(created())
        assert connection.execute("SELECT label FROM atom").fetchone()[0] == "wrong"
        connection.execute("UPDATE atom SET label = NULL, resolving_status = 'Pending'")   # its enricher takes it back
        step(notice(5, 3))
        assert connection.execute("SELECT count(*) FROM atom").fetchone()[0] == 0
        step(notice(5, 4))
        step(created())
        assert connection.execute("SELECT label, resolving_status FROM atom").fetchone() == (None, "Pending")


def test_lost_entry_and_a_crash_at_its_claim(pipeline):
    """The reply of XAUTOCLAIM says that an entry is lost, and has taken it out of the pending ones; the program dies before its letter."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    client = pipeline.redis()
    client.xgroup_create(STREAM, pipeline.group, id="0", mkstream=True)
    client.xadd(STREAM, {"payload": deposits(deposit(1)).payload()})
    client.xreadgroup(pipeline.group, "dead", {STREAM: ">"})
    client.xtrim(STREAM, maxlen=0)
    proxy = Proxy(pipeline.redis_server.port)
    trap = proxy.set(Trap(request=rb"XAUTOCLAIM", after=True))
    try:
        service = pipeline.start("ingest", WORKERS=1, CLAIM_IDLE_MS=100, REDIS_URL=proxy.url(pipeline.redis_server.url(pipeline.redis_db)))
        assert trap.reached.wait(60)
        service.kill()
    finally:
        proxy.close()
    service = pipeline.start("ingest", WORKERS=1, CLAIM_IDLE_MS=100).ready()
    until(pipeline.dead_letters, "its letter is there", alive=[service])
    assert pending(pipeline) == 0
    assert [l["error_class"] for l in pipeline.dead_letters()] == ["lost"]



def test_refused_key_that_came_by_the_backfill_of_the_stage_before(pipeline):
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as connection:
        connection.execute("ALTER TABLE triple_vault ADD CHECK (position_count = 0)")
    triple = {"creator": "0x" + "11" * 20, "termId": id32(1), "subjectId": id32(2), "predicateId": id32(3), "objectId": id32(4),
              "transaction_information": about(10, 10, 50)}
    pipeline.start("ingest")
    pipeline.feed([Message(STREAM, "TripleCreated", (triple,)), deposits(deposit(1, term=1))])
    pipeline.drain(["ingest"])
    pipeline.redis().delete(pipeline.vault_updates)   # Redis lost an internal stream
    pipeline.start("cascade", "analytics", BACKFILL_INTERVAL_MS=500)
    until(lambda: pipeline.redis().exists(pipeline.term_updates) and pipeline.redis().xlen(pipeline.term_updates), "cascade went on")
    until(pipeline.dead_letters, "analytics has refused the key: a dead letter")


def test_entry_that_another_finished_between_two_steps_of_keeping(pipeline):
    """XPENDING, then XCLAIM: in between another consumer acks the entry and it is trimmed. That is no loss. (CLIENT PAUSE stands for a machine that stood still.)"""
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="r", CLAIM_IDLE_MS=600, PROCESSING_TIMEOUT_MS=60000)
    pipeline.feed([deposits(deposit(1, term=1))])
    pipeline.drain(["ingest"])
    client, other = pipeline.redis(), pipeline.redis()
    with pipeline.connect() as holder:
        lock_positions(holder, 2)
        (_, entry, _), = feeds.write(client, [deposits(deposit(2, term=1, account=2))])
        until(lambda: pending(pipeline) == 1, "it is read", alive=[service])
        client.execute_command("CLIENT", "PAUSE", "2500", "WRITE")
        script = "redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)"
        thread = threading.Thread(target=lambda: other.eval(script, 1, STREAM, pipeline.group, entry))
        thread.start()
        thread.join()
        scripts_run(client, 20)
        holder.rollback()
    until(lambda: pending(pipeline) == 0, "done", alive=[service])
    scripts_run(client, 20)
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0] == 2
    assert pipeline.dead_letters() == []


def test_stray_cancel(pipeline):
    """A message over its deadline is left pending; a batch beside it does not fail for that."""
    pipeline.streams = [STREAM]
    service = pipeline.start("ingest", WORKERS=1, PROCESSING_TIMEOUT_MS=300)
    pipeline.feed([deposits(deposit(n, term=n, account=n)) for n in range(1, 4)])
    pipeline.drain(["ingest"])
    with pipeline.connect() as holder:
        lock_positions(holder, *range(0x10, 0x1a))
        for n in range(0x10, 0x1a):
            tried = service.messages().count("takes longer")
            pipeline.feed([deposits(deposit(100 * n + k, term=k, account=n)) for k in range(1, 4)])
            until(lambda: service.messages().count("takes longer") > tried or "batch failed" in service.messages(), "it is tried", alive=[service])
        holder.rollback()
    pipeline.drain(["ingest"])
    assert "batch failed" not in service.messages()


def test_rebuild_of_a_wrong_row_keeps_its_position(pipeline):
    """The row's own position is in stream b; it came again in stream a (smaller id), which orphaned it. Mending its content must not forget b."""
    pipeline.streams = ["a", "b"]
    pipeline.start(BACKFILL_INTERVAL_MS=300)
    for message in (deposits(deposit(1), stream="b"), deposits(deposit(1), stream="a", id="1000-0"), notice(5, 1, stream="a", id="2000-0")):
        pipeline.feed([message])
        pipeline.drain()
    assert not pipeline.differences()
    with pipeline.connect() as connection:
        connection.execute("UPDATE deposited_events SET assets = '1'")
    done = pipeline.run("ingest", "rebuild")
    assert done.returncode == 0, done.stderr
    pipeline.drain()
    differences = pipeline.differences()
    assert not differences, done.stdout + oracle.report(differences)


def test_stop_while_own_entries_are_taken_up(pipeline):
    """`SIGTERM: … exit 0 …, nothing left pending`."""
    pipeline.streams = [STREAM]
    first = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="r")
    pipeline.feed([deposits(deposit(n, term=n, account=n)) for n in range(100, 3100)])
    pipeline.drain(["ingest"])
    pipeline.stop(first)
    pipeline.feed([deposits(deposit(n, term=n, account=n)) for n in range(4100, 9100)])
    pipeline.redis().xreadgroup(pipeline.group, "r-0", {STREAM: ">"}, count=5000)   # as a batch that failed while PostgreSQL was away leaves it
    service = pipeline.start("ingest", WORKERS=1, CONSUMER_NAME="r", BATCH_SIZE=1, SHUTDOWN_TIMEOUT_MS=150000)   # however slow the machine
    until(lambda: pending(pipeline) < 5000, "it works", alive=[service], pause=0.005)
    service.stop()
    assert pending(pipeline) == 0, f"exit 0, {pending(pipeline)} left pending"


@pytest.mark.parametrize("order", ["deposit first", "redemption first"])
def test_one_log_index_of_one_transaction_is_a_deposit_in_one_block_and_a_redemption_in_another(pipeline, order):
    """Competing blocks of one number and one time, without a notice: the transaction's logs stand one place further on. Both are live: which is `latest`?"""
    pipeline.streams = [STREAM]
    d = deposits(deposit(1, number=10, hash_=20, log_index=5, shares=5))
    r = {k: v for k, v in deposit(1, number=10, hash_=21, log_index=5, shares=0).items() if k != "assetsAfterFees"}
    r = Message(STREAM, "Redeemed", ({**r, "fees": "1", "vaultType": 1},))
    pipeline.start("ingest", WORKERS=1)
    for message in (d, r) if order == "deposit first" else (r, d):
        pipeline.feed([message])
        pipeline.drain(["ingest"])
    with pipeline.connect() as connection:
        shares, = connection.execute("SELECT shares FROM position").fetchone()
        type_, = connection.execute("SELECT vault_type FROM vault").fetchone()
    print("SHARES", order, shares, type_)
    done = pipeline.run("ingest", "verify")
    assert (int(shares), type_, done.returncode) == (5, "1", 0), done.stdout   # any rule will do, but one


def test_a_row_that_no_stream_held_comes_again_and_goes_again(pipeline):
    """rebuild took a row away that stood in no stream; then its entry comes after all, a reorg takes the event away, a branch brings it back."""
    pipeline.streams = [STREAM]
    pipeline.start(BACKFILL_INTERVAL_MS=300)
    pipeline.feed([deposits(deposit(1)), deposits(deposit(2, number=11, hash_=11, account=2))])
    pipeline.drain()
    with pipeline.connect() as connection:   # nobody's row, in the place of an event to come
        connection.execute("""INSERT INTO deposited_events SELECT (jsonb_populate_record(d, jsonb_build_object(
                              'transaction_hash', %s::text, 'shares', '99'))).* FROM deposited_events d WHERE transaction_hash = %s""", (id32(3), id32(2)))
    done = pipeline.run("ingest", "rebuild")
    assert done.returncode == 0, done.stderr
    pipeline.feed([deposits(deposit(3, number=11, hash_=11, account=2))])
    pipeline.drain().assert_exact()
    for message in (notice(11, 1), notice(11, 2), deposits(deposit(3, number=11, hash_=11, account=2))):
        pipeline.feed([message])
        pipeline.drain().assert_exact()
