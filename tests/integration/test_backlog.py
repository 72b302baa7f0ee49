"""In a backlog what changed is published by bucket: one entry stands for every key of its bucket that waits in the outbox.

A later stage gathers such entries while they keep coming. Whatever becomes of one of them, each key of its bucket is done: no backfill
helps here (NEVER), unless a test is about it."""
import threading

import pytest

import feeds
from programs import SERVICES
from test_buckets import NEIGHBOURS, Feed, bucket_of
from test_poison import samples
from test_sequences import scripts_run
from test_stop import pending_of
from waiting import until

NEVER = 3_600_000
BUCKETS = range(64)
LATER = ("cascade", "analytics")
QUIET = {"BACKFILL_INTERVAL_MS": NEVER, "CLAIM_IDLE_MS": NEVER}
SMALL = {"BATCH_SIZE": 5, "BATCH_MAX_EVENTS": 50}   # a recording is a backlog of many batches


def input_of(pipeline, stage):
    return {"cascade": pipeline.vault_updates, "analytics": pipeline.term_updates}[stage]


def entry(bucket, **fields):
    return {"bucket": bucket, "reason": "backlog", "block_number": 7, **fields}


def add_buckets(pipeline, stage, buckets=BUCKETS):
    pipe = pipeline.redis().pipeline(transaction=False)
    for bucket in buckets:
        pipe.xadd(input_of(pipeline, stage), entry(bucket))
    return pipe.execute()


def add_terms(pipeline, stage, terms):
    pipe = pipeline.redis().pipeline(transaction=False)
    for term in terms:
        pipe.xadd(input_of(pipeline, stage), {"term_id": term, "reason": "test", "block_number": 7})
    return pipe.execute()


def acked(pipeline, stage, id_):
    """Whether the entry, the stream's last one, is delivered and acked."""
    group, = pipeline.redis().xinfo_groups(input_of(pipeline, stage))
    return group["last-delivered-id"] == id_ and not group["pending"]


def read_as(pipeline, stage, consumer, count=None):
    """Another consumer reads entries and does not ack them."""
    client, stream = pipeline.redis(), input_of(pipeline, stage)
    return [id_ for _, found in client.xreadgroup(pipeline.group, consumer, {stream: ">"}, count=count) for id_, _ in found]


def waits(pipeline, stage, messages):
    """All stages before this one have done the messages, its outbox holds what is left to do, its stream is empty."""
    before = SERVICES[:SERVICES.index(stage)]
    services = [pipeline.start(name) for name in before]
    pipeline.feed(messages)
    for service in services:   # in the order of the flow: each may publish once more what it has published before
        pipeline.drain(before)
        pipeline.stop(service)
    client, stream = pipeline.redis(), input_of(pipeline, stage)
    client.delete(stream)
    client.xgroup_create(stream, pipeline.group, id="0", mkstream=True)
    return pipeline


def start_rest(pipeline, stage, **settings):
    """-> this stage, with all behind it running"""
    return [pipeline.start(name, **(settings if name == stage else {})) for name in SERVICES[SERVICES.index(stage):]][0]


def published(pipeline, stage):
    return [fields for _, fields in pipeline.redis().xrange(input_of(pipeline, stage))]


def by_bucket(entries):
    return [fields for fields in entries if "bucket" in fields]


def outbox_terms(connection, stage):
    table = {"cascade": "vault_waiting", "analytics": "term_outbox"}[stage]
    return {term for term, in connection.execute(f"SELECT DISTINCT term_id FROM {table}").fetchall()}


@pytest.fixture(params=LATER)
def stage(request):
    return request.param


class Stream(threading.Thread):
    """Bucket entries that keep coming, so that a gathering never ends by itself."""

    def __init__(self, pipeline, stage):
        super().__init__(daemon=True)
        self.pipeline, self.stage, self.enough = pipeline, stage, threading.Event()
        self.start()

    def run(self):
        while not self.enough.wait(0.02):
            add_buckets(self.pipeline, self.stage, [0])

    def end(self):
        self.enough.set()
        self.join()


# ---- what one entry stands for

def test_a_bucket_stands_for_every_key_that_waits_in_it(make_pipeline, part, stage):
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    add_buckets(pipeline, stage)
    start_rest(pipeline, stage)
    pipeline.drain().assert_exact()
    if stage == "cascade":
        behind = published(pipeline, "analytics")
        assert {(e.get("bucket"), e["reason"], e.get("term_id")) for e in behind} == {(str(b), "backlog", None) for b in BUCKETS}, "published by bucket in turn"


def test_only_the_bucket_that_an_entry_names_is_done(make_pipeline, part):
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), "cascade", part)
    with pipeline.connect() as connection:
        before = outbox_terms(connection, "cascade")
        add_buckets(pipeline, "cascade", range(32))
        start_rest(pipeline, "cascade")
        until(lambda: not pending_of(pipeline, [pipeline.vault_updates]) and pipeline.redis().xlen(pipeline.term_updates) == 32, "they are done",
              alive=pipeline.alive())
        assert outbox_terms(connection, "cascade") == {term for term in before if bucket_of(term) >= 32}
    add_buckets(pipeline, "cascade", range(32, 64))
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("buckets_first", [True, False])
def test_the_last_entries_of_a_flood_come_in_any_order(make_pipeline, part, stage, buckets_first):
    """The last batch of a flood names keys. Batches before it may be slower: then entries marked as of a backlog are the last ones."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    with pipeline.connect() as connection:
        terms = [term for term in outbox_terms(connection, stage) if bucket_of(term) < 32]
    for add in (add_buckets, add_terms) if buckets_first else (add_terms, add_buckets):
        add(pipeline, stage, *([terms] if add is add_terms else [range(32, 64)]))
    start_rest(pipeline, stage)
    pipeline.drain().assert_exact()


# ---- what may become of an entry

def test_delivered_again(make_pipeline, part, stage):
    """An earlier life had read them: they are done at the start, and published again though nothing may be left to do."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    add_buckets(pipeline, stage)
    read_as(pipeline, stage, "pod-0")
    service = start_rest(pipeline, stage, CONSUMER_NAME="pod", WORKERS=1)
    pipeline.drain().assert_exact()
    if stage == "cascade":
        pipeline.stop(service)
        behind = len(published(pipeline, "analytics"))
        add_buckets(pipeline, stage, [5])
        read_as(pipeline, stage, "pod-0")
        pipeline.start(stage, CONSUMER_NAME="pod", WORKERS=1)
        pipeline.drain()
        assert [e["bucket"] for e in published(pipeline, "analytics")[behind:]] == ["5"]


def test_claimed_from_a_dead_consumer(make_pipeline, part, stage):
    pipeline = waits(make_pipeline(BACKFILL_INTERVAL_MS=NEVER, CLAIM_IDLE_MS=300).listen_to(part), stage, part)
    add_buckets(pipeline, stage)
    read_as(pipeline, stage, "dead", count=40)
    service = start_rest(pipeline, stage)
    pipeline.drain().assert_exact()
    assert samples(service, "claims_total")[""] >= 40


def test_lost(make_pipeline, part, stage):
    """Trimmed away while pending: a dead letter each, and the backfill finds what they stood for."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    add_buckets(pipeline, stage)
    gone = read_as(pipeline, stage, "dead")
    pipeline.redis().xtrim(input_of(pipeline, stage), maxlen=0, approximate=False)
    start_rest(pipeline, stage, CLAIM_IDLE_MS=300, BACKFILL_INTERVAL_MS=300)
    until(lambda: len(pipeline.dead_letters()) >= len(gone), "each has its dead letter", alive=pipeline.alive())
    pipeline.drain()
    assert sorted(letter["id"] for letter in pipeline.dead_letters()) == sorted(gone)
    assert {(letter["stage"], letter["error_class"]) for letter in pipeline.dead_letters()} == {(stage, "lost")}
    assert not pipeline.differences() and not pipeline.deadlocks()


def test_backfilled_after_its_stream_is_deleted(make_pipeline, part, stage):
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    add_buckets(pipeline, stage)
    read_as(pipeline, stage, "dead", count=10)
    pipeline.redis().delete(input_of(pipeline, stage))
    start_rest(pipeline, stage, BACKFILL_INTERVAL_MS=300)
    pipeline.drain().assert_exact()
    assert {e["reason"] for e in published(pipeline, stage)} == {"backfill"}


def test_the_backfill_leaves_out_the_bucket_of_a_pending_entry(make_pipeline, part, stage):
    """A replica that does not answer has an entry of bucket 0; the entries of all other buckets are lost. Neither waits for the other."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    with pipeline.connect() as connection:
        held = {term for term in outbox_terms(connection, stage) if bucket_of(term) == 0}
        assert held and len(outbox_terms(connection, stage)) > len(held)
        id_, = add_buckets(pipeline, stage, [0])
        read_as(pipeline, stage, "busy")
        start_rest(pipeline, stage, BACKFILL_INTERVAL_MS=300)
        until(lambda: outbox_terms(connection, stage) == held, "what was lost is done", alive=pipeline.alive())
        scripts_run(pipeline.redis(), 12)   # housekeeping has looked several times since
        assert not held & {e.get("term_id") for e in published(pipeline, stage)}
        assert [e["message_id"] for e in pipeline.redis().xpending_range(input_of(pipeline, stage), pipeline.group, "-", "+", 10)] == [id_]
        assert outbox_terms(connection, stage) == held
    pipeline.redis().xclaim(input_of(pipeline, stage), pipeline.group, "pod-0", 0, [id_])   # who comes back does it
    pipeline.start(stage, CONSUMER_NAME="pod", WORKERS=1)
    pipeline.drain().assert_exact()


def neighbours(make_pipeline, stage, **settings):
    """Twenty triples of bucket 0 are known; new prices of them wait for the stage. -> the pipeline and its feed"""
    pipeline, feed = make_pipeline(**{**QUIET, **settings}), Feed()
    messages = [feed.triples(NEIGHBOURS), feed.prices(NEIGHBOURS, 10)]
    pipeline.listen_to(messages)
    pipeline.feed(messages)
    pipeline.start()
    pipeline.drain()
    pipeline.stop()
    return waits(pipeline, stage, [feed.prices(NEIGHBOURS, 20)]), feed


# stage: (table, column of the term, column of its total)
ROWS = {"cascade": ("term", "id", "total_assets"), "analytics": ("triple_term", "term_id", "total_assets")}


def done(connection, stage, terms, total):
    table, key, column = ROWS[stage]
    rows = connection.execute(f"SELECT count(*) FROM {table} WHERE {key} = ANY (%s) AND {column} = %s", (list(terms), total)).fetchone()[0]
    return rows == len(terms)


def refuse(connection, stage, term, state):
    """From now on PostgreSQL refuses the term's new total, with this SQLSTATE, until the trigger is dropped."""
    table, key, column = ROWS[stage]
    connection.execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
    connection.execute(f"""CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW
                           WHEN (NEW.{key} = '{term}' AND NEW.{column} >= 20) EXECUTE FUNCTION refuse()""")


@pytest.mark.parametrize("state", ["22023", "23514"])
def test_one_term_refused_by_postgresql(make_pipeline, stage, state):
    """The others of its bucket are done, the entry has one dead letter, which dlq shows and, once the cause is gone, retries."""
    pipeline, feed = neighbours(make_pipeline, stage, WORKERS=2)
    table, poison, others = ROWS[stage][0], NEIGHBOURS[7], [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as connection:
        refuse(connection, stage, poison, state)
        id_, = add_buckets(pipeline, stage, [0])
        start_rest(pipeline, stage)
        until(lambda: done(connection, stage, others, 20), "its neighbours are done", alive=pipeline.alive())
        until(lambda: not pending_of(pipeline, [input_of(pipeline, stage)]), "the entry is done with", alive=pipeline.alive())
        letter, = pipeline.dead_letters()
        assert (letter["stage"], letter["stream"], letter["id"], letter["error_class"]) == (stage, input_of(pipeline, stage), id_, "database")
        assert poison in letter["error"] and f"SQLSTATE {state}" in letter["error"]
        assert (letter["bucket"], letter["reason"], letter["payload"]) == ("0", "backlog", "bucket=0 reason=backlog block_number=7")
        assert outbox_terms(connection, stage) == {poison}
        shown = pipeline.run(stage, "dlq", "show", letter["dead_letter_id"])
        assert shown.returncode == 0 and "bucket=0 reason=backlog" in shown.stdout and poison in shown.stdout
        again = pipeline.run(stage, "dlq", "retry", letter["dead_letter_id"])
        assert again.returncode == 1 and "stays" in again.stderr and len(pipeline.dead_letters()) == 1
        connection.execute(f"DROP TRIGGER refuse ON {table}")
    assert pipeline.run(stage, "dlq", "retry", "--all").returncode == 0
    pipeline.drain().assert_exact()


def test_a_refused_term_of_a_backlog_is_told_once(make_pipeline, stage):
    """Its row stays in the outbox: each later entry that names its bucket meets it again, and is not to blame."""
    pipeline, _ = neighbours(make_pipeline, stage, WORKERS=1)
    table = ROWS[stage][0]
    with pipeline.connect() as connection:
        refuse(connection, stage, NEIGHBOURS[7], "22023")
        start_rest(pipeline, stage)
        for _ in range(4):
            id_, = add_buckets(pipeline, stage, [0])
            until(lambda: acked(pipeline, stage, id_), "the entry is done with", alive=pipeline.alive())
        assert len(pipeline.dead_letters()) == 1
        connection.execute(f"DROP TRIGGER refuse ON {table}")
    assert pipeline.run(stage, "dlq", "retry", "--all").returncode == 0
    pipeline.drain().assert_exact()


def test_many_entries_of_a_term_that_somebody_holds(make_pipeline, stage):
    """They are one unit of a batch: it is tried once, one entry of it stays pending, and nobody else waits."""
    pipeline, _ = neighbours(make_pipeline, stage, WORKERS=1)
    table, key, _ = ROWS[stage]
    held, others = NEIGHBOURS[7], [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as holder, pipeline.connect() as connection:
        holder.autocommit = False
        holder.execute(f"SELECT FROM {table} WHERE {key} = %s FOR UPDATE", (held,))
        add_terms(pipeline, stage, [held] * 30 + others)
        service = start_rest(pipeline, stage, PROCESSING_TIMEOUT_MS=1000)
        until(lambda: done(connection, stage, others, 20), "the others are done", alive=pipeline.alive())
        until(lambda: len(pipeline.redis().xpending_range(input_of(pipeline, stage), pipeline.group, "-", "+", 100)) == 1, "one entry is left", alive=pipeline.alive())
        assert service.messages().count("a single message takes longer") <= 3
        holder.rollback()
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("workers", [1, 2])
def test_one_term_over_the_deadline(make_pipeline, stage, workers):
    """Somebody holds its row. The others of its bucket go on, again and again; it is done when the row is free."""
    pipeline, feed = neighbours(make_pipeline, stage, WORKERS=workers, PROCESSING_TIMEOUT_MS=1000)
    table, key, _ = ROWS[stage]
    held, others = NEIGHBOURS[7], [*NEIGHBOURS[:7], *NEIGHBOURS[8:]]
    with pipeline.connect() as holder, pipeline.connect() as connection:
        holder.autocommit = False
        holder.execute(f"SELECT FROM {table} WHERE {key} = %s FOR UPDATE", (held,))
        id_, = add_buckets(pipeline, stage, [0])
        service = start_rest(pipeline, stage)
        for name in SERVICES[:SERVICES.index(stage)]:
            pipeline.start(name)
        until(lambda: done(connection, stage, others, 20), "its neighbours are done", alive=pipeline.alive())
        service.says("a single message takes longer than PROCESSING_TIMEOUT_MS, or waits for a lock")
        for total in (21, 22):
            pipeline.feed([feed.prices(others, total)])
            until(lambda total=total: done(connection, stage, others, total), "its neighbours go on", alive=pipeline.alive())
            add_buckets(pipeline, stage, [0, 1])   # the next of a flood name the same bucket
        assert id_ in [e["message_id"] for e in pipeline.redis().xpending_range(input_of(pipeline, stage), pipeline.group, "-", "+", 10)]
        holder.rollback()
    pipeline.drain().assert_exact()


def test_a_bucket_that_is_none(make_pipeline, small, stage):
    pipeline = waits(make_pipeline(**QUIET).listen_to(small), stage, small)
    client, bad = pipeline.redis(), ["64", "-1", "x", "", "00", " 1", "1\0", "1" * 40]
    ids = [client.xadd(input_of(pipeline, stage), entry(bucket)) for bucket in bad]
    add_buckets(pipeline, stage)
    start_rest(pipeline, stage)
    pipeline.drain()
    assert not pipeline.differences()
    letters = pipeline.dead_letters()
    assert sorted(letter["id"] for letter in letters) == sorted(ids)
    assert {(letter["stage"], letter["error_class"]) for letter in letters} == {(stage, "format")}
    assert all("bucket" in letter["error"] for letter in letters)
    if stage == "cascade":
        assert {e["bucket"] for e in by_bucket(published(pipeline, "analytics"))} == {str(b) for b in BUCKETS}


# ---- gathering

def test_gathering_does_not_wait_for_what_is_pending(make_pipeline, part, stage):
    """A dead replica has an entry of a bucket: the others are gathered and done without it, and it is done when it is claimed."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    with pipeline.connect() as connection:
        id_, = add_buckets(pipeline, stage, [0])
        read_as(pipeline, stage, "dead")
        add_buckets(pipeline, stage, range(1, 64))
        service = start_rest(pipeline, stage)
        until(lambda: {bucket_of(term) for term in outbox_terms(connection, stage)} == {0}, "all other buckets are done", alive=pipeline.alive())
    pipeline.stop(service)
    assert [e["message_id"] for e in pipeline.redis().xpending_range(input_of(pipeline, stage), pipeline.group, "-", "+", 10)] == [id_]
    pipeline.start(stage, CLAIM_IDLE_MS=100)
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_pending_does_not_wait_for_the_end_of_a_backlog(make_pipeline, stage, workers):
    """Bucket entries keep coming. An entry that was put off for being slow is tried again meanwhile, and done."""
    pipeline, _ = neighbours(make_pipeline, stage, WORKERS=workers, PROCESSING_TIMEOUT_MS=1000)
    table, key, _ = ROWS[stage]
    with pipeline.connect() as holder, pipeline.connect() as connection:
        holder.autocommit = False
        holder.execute(f"SELECT FROM {table} WHERE {key} = %s FOR UPDATE", (NEIGHBOURS[7],))
        id_, = add_buckets(pipeline, stage, [0])
        service = start_rest(pipeline, stage)
        service.says("a single message takes longer than PROCESSING_TIMEOUT_MS, or waits for a lock")
        flood = Stream(pipeline, stage)
        try:
            holder.rollback()
            until(lambda: id_ not in [e["message_id"] for e in pipeline.redis().xpending_range(input_of(pipeline, stage), pipeline.group, "-", "+", 1)],
                  "it is done", alive=pipeline.alive())
            until(lambda: done(connection, stage, NEIGHBOURS, 20), "its term, too", alive=pipeline.alive())
        finally:
            flood.end()
    pipeline.drain().assert_exact()


def test_sigterm_in_the_middle_of_gathering(make_pipeline, part, stage):
    pipeline = waits(make_pipeline(**QUIET).listen_to(part), stage, part)
    client, stream = pipeline.redis(), input_of(pipeline, stage)
    service = start_rest(pipeline, stage).ready()
    add_buckets(pipeline, stage)
    flood = Stream(pipeline, stage)
    try:
        until(lambda: len(client.xpending_range(stream, pipeline.group, "-", "+", 100)) > 3, "it gathers", pause=0, alive=pipeline.alive())
        pipeline.stop(service)   # exit 0
        assert pending_of(pipeline, [stream]) == 0
    finally:
        flood.end()
    pipeline.start(stage)
    pipeline.drain().assert_exact()


def test_what_is_gathered_is_bounded(make_pipeline, small):
    """However much waits: 10,000 entries a batch and what one read brings, and no more in the stream's pending list."""
    pipeline = waits(make_pipeline(WORKERS=1, **QUIET).listen_to(small), "cascade", small)
    add_buckets(pipeline, "cascade", [number % 64 for number in range(25_000)])
    with pipeline.connect() as holder, pipeline.connect() as watcher:
        holder.execute("SELECT pg_advisory_lock('vault_outbox'::regclass::oid::int, 0)")
        start_rest(pipeline, "cascade")
        until(lambda: watcher.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 0").fetchone()[0],
              "cascade has gathered, and waits for bucket 0", alive=pipeline.alive())
        assert 2000 < pending_of(pipeline, [pipeline.vault_updates]) < 10_000 + 101
        holder.execute("SELECT pg_advisory_unlock('vault_outbox'::regclass::oid::int, 0)")
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("stage, table, rows, most, wait", [
    ("cascade", "vault_outbox", 9000, 2048, "SELECT vault_tell_of_terms(ARRAY[%s], 0) FROM generate_series(1, %s)"),
    ("analytics", "term_outbox", 9000, 4000, "INSERT INTO term_outbox (term_id, block_number) SELECT '0x00' || lpad(to_hex(n), 62, '0'), 0 FROM generate_series(1, %s) n"),
    ("analytics", "term_outbox", 45_000, 20_000, "INSERT INTO term_outbox (term_id, block_number) SELECT '0x00' || lpad('7', 62, '0'), 0 FROM generate_series(1, %s) n"),
])
def test_a_transaction_is_bounded(make_pipeline, small, stage, table, rows, most, wait):
    """One entry, and more outbox rows behind it than one transaction takes: several do them all."""
    pipeline = waits(make_pipeline(**QUIET).listen_to(small), stage, small)
    with pipeline.connect() as connection:
        connection.execute(wait, (NEIGHBOURS[0], rows) if stage == "cascade" else (rows,))
        connection.execute("CREATE TABLE taken (transaction xid8, rows bigint)")
        connection.execute("""CREATE FUNCTION count_taken() RETURNS trigger LANGUAGE plpgsql AS
                              $$ BEGIN INSERT INTO taken SELECT pg_current_xact_id(), count(*) FROM gone; RETURN NULL; END $$""")
        connection.execute(f"""CREATE TRIGGER count_taken AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
                               FOR EACH STATEMENT EXECUTE FUNCTION count_taken()""")
        add_buckets(pipeline, stage)
        start_rest(pipeline, stage)
        pipeline.drain()
        sums = [sum_ for sum_, in connection.execute("SELECT sum(rows) FROM taken GROUP BY transaction").fetchall()]
    assert sum(sums) >= rows and max(sums) <= most, sums
    pipeline.assert_exact()


# ---- a flood, from end to end

@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("streams", ["five", "one"])
def test_a_flood(make_pipeline, recording, streams, replicas):
    """A backlog at the start and another one later; in between, and behind it, live events."""
    messages = feeds.new_ids(recording) if streams == "five" else feeds.single_stream(recording)
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER, **SMALL).listen_to(messages)
    pipeline.feed(messages[:len(messages) // 2])
    for _ in range(replicas):
        pipeline.start()
    pipeline.drain()
    for message in messages[len(messages) // 2:][:5]:
        pipeline.feed([message])
    pipeline.feed(messages[len(messages) // 2 + 5:])
    pipeline.drain().assert_exact()
    for stage_ in LATER:
        marked, keys = by_bucket(published(pipeline, stage_)), [e for e in published(pipeline, stage_) if "term_id" in e]
        assert marked and keys and {e["reason"] for e in marked} == {"backlog"}


def test_ingest_killed_in_the_middle_of_a_flood(make_pipeline, recording):
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER, CLAIM_IDLE_MS=300, **SMALL).migrate().listen_to(recording)
    pipeline.feed(recording)
    pipeline.start("cascade", "analytics")
    client = pipeline.redis()
    for round_ in range(1, 4):
        ingest = pipeline.start("ingest", WORKERS=2)
        before = client.xlen(pipeline.vault_updates)
        until(lambda: client.xlen(pipeline.vault_updates) > before, "it publishes", pause=0, alive=pipeline.alive())
        ingest.kill()
        assert not pipeline.drained(["ingest"])(), f"round {round_}: the flood is not over"
    pipeline.start("ingest")
    pipeline.drain().assert_exact()
    assert by_bucket(published(pipeline, "cascade"))


def test_a_full_batch_of_a_quiet_chain_names_keys(make_pipeline, small):
    """BATCH_MAX_EVENTS=1: each batch is full, but nothing waits behind it. The same events at once are a backlog."""
    messages = feeds.regrouped(small, seed=1, size=1)
    pipeline = make_pipeline(BACKFILL_INTERVAL_MS=NEVER, BATCH_MAX_EVENTS=1).listen_to(messages)
    pipeline.start()
    for message in messages[:12]:
        pipeline.feed([message])
        pipeline.drain()
    for stage_ in LATER:
        assert published(pipeline, stage_) and not by_bucket(published(pipeline, stage_))
    pipeline.feed(messages[12:])
    pipeline.drain().assert_exact()
    assert by_bucket(published(pipeline, "cascade"))


# ---- several streams

@pytest.mark.parametrize("deleted", [False, True])
def test_a_stream_whose_lag_is_not_known_does_not_wait(make_pipeline, recording, deleted):
    """Entries that were deleted out of its middle, or all of it: Redis knows no lag, or no group; the other stream keeps every batch full."""
    kind = [m for m in recording if m.stream.endswith("share_price_changed")]
    other = [m for m in recording if m.stream.endswith("triple_created")][:20]
    pipeline = make_pipeline(BATCH_SIZE=2, BATCH_MAX_EVENTS=20, WORKERS=1, CLAIM_IDLE_MS=NEVER).listen_to(kind + other)
    client = pipeline.redis()
    much, little = kind[0].stream, other[0].stream
    pipeline.stop(pipeline.start("ingest").ready())
    ids = [id_ for _, id_, _ in feeds.write(client, other)]
    client.xdel(little, ids[1], ids[10])
    pipeline.feed(feeds.regrouped(kind, seed=1, size=1))
    ingest = pipeline.start("ingest").ready()
    if deleted:
        until(lambda: client.xinfo_groups(much)[0]["pending"], "it is busy", alive=[ingest])
        client.delete(little)
        ids = [id_ for _, id_, _ in feeds.write(client, other[-2:])]
    until(lambda: [g for g in client.xinfo_groups(little) if g["last-delivered-id"] == ids[-1]], "the other stream is read", alive=[ingest])
    assert client.xinfo_groups(much)[0]["lag"] > 0, "the backlog was there all the time"


def test_a_stream_with_little_does_not_wait_for_one_with_much(make_pipeline, recording):
    """One message of a kind of its own is through long before the others, which stand in front of it by the thousand."""
    kind = [m for m in recording if m.stream.endswith("share_price_changed")]
    rare = [m for m in recording if m.stream.endswith("triple_created")][:1]
    pipeline = make_pipeline(BATCH_SIZE=2, BATCH_MAX_EVENTS=20, WORKERS=1, MAX_MESSAGES_PER_SECOND=0).listen_to(kind + rare)
    pipeline.feed(feeds.regrouped(kind, seed=1, size=1))
    ingest = pipeline.start("ingest").ready()
    client = pipeline.redis()
    much, little = kind[0].stream, rare[0].stream
    until(lambda: any(group["entries-read"] for group in client.xinfo_groups(much)), "the backlog is worked off", alive=[ingest])
    pipeline.feed(rare)
    until(lambda: client.xinfo_groups(little)[0]["entries-read"], "the other stream is read", alive=[ingest])
    assert client.xinfo_groups(much)[0]["lag"] > 0, "the backlog was there all the time"
    until(pipeline.drained(["ingest"]), "all is through", alive=[ingest])
