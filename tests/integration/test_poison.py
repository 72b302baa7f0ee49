"""Poison in every stream: exactly one dead letter each, which says where and why; all else exact, nothing restarts, nothing grows.

And `dlq`: what a letter says, and that a retry once the cause is gone gives what would have been."""
import json
import random
import re
from collections import Counter

import pytest

import chain
import feeds
import oracle
import poison
from programs import SERVICES
from test_reorgs import Branches, assert_reorged
from waiting import until

NETWORK = {"NETWORK": chain.NETWORK}
FIELDS = ("stage", "stream", "id", "group", "event_index", "error_class", "error", "attempts", "first_seen", "payload")


def generated(rng):
    return chain.Chain(rng.randrange(10**9), blocks=25, per_block=20)


def feed(pipeline, poisons, messages, rng):
    """Poison anywhere among other messages -> {(stream, id): Poison}. What is right in it counts as if it had come alone."""
    mixed = [(one.message, one) for one in poisons] + [(message, None) for message in messages]
    rng.shuffle(mixed)
    written, found = feeds.write(pipeline.redis(), [message for message, _ in mixed], at_once=50), {}
    for (stream, id_, payload), (_, one) in zip(written, mixed):
        if one:
            found[stream, id_] = one
        if not one or one.good:
            pipeline.entries.append((stream, id_, one.good if one else payload))
    return found


def letters_by_entry(pipeline):
    found = {}
    for letter in pipeline.dead_letters():
        assert (letter["stream"], letter["id"]) not in found, f"a second dead letter for one message: {str(letter)[:1000]}"
        found[letter["stream"], letter["id"]] = letter
    return found


def as_read(raw):
    return raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape")


def problems_of(letter, one, pipeline, stream, id_):
    """What is wrong with a letter, in words."""
    wanted = {"stage": "ingest", "stream": stream, "id": id_, "group": pipeline.group, "error_class": one.kind.error_class,
              "event_index": one.event_index(), "attempts": "3" if one.kind.error_class == "database" else "1"}
    for name in FIELDS:
        if name not in letter:
            yield f"has no {name}"
    for name, value in wanted.items():
        if letter.get(name) != value:
            yield f"{name} is {letter.get(name)!r}, not {value!r}"
    if one.says() not in letter["error"]:
        yield f"says {letter['error']!r}, not {one.says()!r}"
    if len(one.places) > 1 and f"(and {len(one.places) - 1} more)" not in letter["error"]:
        yield f"does not say how many more: {letter['error']!r}"
    if len(letter["error"]) > 1000 or any(ord(c) < 0x20 or c == "\x7f" for c in letter["error"]):
        yield f"has an error that is not for reading: {letter['error'][:2000]!r}"
    payload = as_read(one.message.raw)
    if letter["payload"] != (payload if one.kind.field == "payload" else f"{one.kind.field}={payload}"):
        yield f"has another payload: {letter['payload'][:1000]!r}"


def assert_letters(pipeline, poisons):
    """Exactly one dead letter for each, with the right reason, and no other."""
    letters, problems = letters_by_entry(pipeline), []
    for (stream, id_), one in poisons.items():
        letter = letters.pop((stream, id_), None)
        found = list(problems_of(letter, one, pipeline, stream, id_)) if letter else ["has no dead letter"]
        problems += [f"{one.kind.name}: {problem}" for problem in found]
    problems += [f"a letter for what is good: {str(letter)[:1000]}" for letter in letters.values()]
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:30])


def samples(service, name):
    """-> {labels: value} of a metric"""
    lines = [line for line in service.get("/metrics")[1].splitlines() if re.match(rf"{name}[ {{]", line)]
    return {line.partition("{")[2].partition("}")[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def assert_undisturbed(services):
    """None ended, reconnected, or took poison for an outage."""
    for service in services:
        assert service.running(), service.tail()
        until(lambda: service.status_of("/health") == 200, f"{service.label} is healthy", alive=[service])
        for name in ("reconnects_total", "batch_retries_total", "circuit_breaker_state", "lost_entries_total"):
            found = samples(service, name)
            assert found and not any(found.values()), f"{service.label}: {name} {found}"


@pytest.mark.parametrize("replicas,settings", [(1, {}), (2, {"CLAIM_IDLE_MS": 20, "WORKERS": 2, "BATCH_SIZE": 7})], ids=["one", "two"])
def test_every_kind_among_good_messages(pipeline, seed, replicas, settings):
    rng = random.Random(seed)
    the_chain = generated(rng)
    kinds = poison.kinds(rng)
    assert len({kind.name for kind in kinds}) == len(kinds) > 40
    pipeline.streams = [*chain.STREAMS.values(), chain.OTHER_STREAM]
    services = [service for _ in range(replicas) for service in pipeline.start(**NETWORK, **settings)]
    poisons = feed(pipeline, poison.brew(kinds, the_chain, rng), chain.messages(the_chain.events), rng)
    pipeline.drain()
    assert_letters(pipeline, poisons)
    differences = pipeline.differences(network=chain.NETWORK)
    assert not differences, differences[:5]
    assert pipeline.deadlocks() == 0
    assert_undisturbed(services)
    ingests = [service for service in services if service.name == "ingest"]
    written = sum((Counter(samples(service, "dead_letters_total")) for service in ingests), Counter())
    assert {labels.split('"')[1]: number for labels, number in written.items()} == Counter(one.kind.error_class for one in poisons.values())
    pipeline.assert_verified()


def test_what_only_looks_like_poison(pipeline, seed):
    rng = random.Random(seed)
    the_chain = generated(rng)
    messages = poison.harmless(the_chain, rng)
    pipeline.streams = [*chain.STREAMS.values(), chain.OTHER_STREAM]
    services = pipeline.start(**NETWORK)
    feed(pipeline, [], [*chain.messages(the_chain.events), *messages.values()], rng)
    pipeline.drain().assert_exact(network=chain.NETWORK)
    with pipeline.connect() as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {"deposited_events", "atom", "vault"} < {name for name, in names}
    assert_undisturbed(services)


@pytest.mark.parametrize("stage,stream", [("cascade", "vault_updates"), ("analytics", "term_updates")])
def test_every_kind_of_key(pipeline, seed, stage, stream):
    rng = random.Random(seed)
    messages = chain.messages(generated(rng).events)
    pipeline.listen_to(messages)
    services = pipeline.start(**NETWORK)
    client = pipeline.redis()
    bad = {}
    for number, (name, (fields, error_class)) in enumerate(poison.KEYS.items()):
        pipeline.feed(messages[number::len(poison.KEYS)])
        bad[client.xadd(stream, fields)] = (name, fields, error_class)
    for fields in poison.HARMLESS_KEYS.values():
        client.xadd(stream, fields)
    pipeline.drain()
    assert not pipeline.differences(network=chain.NETWORK)
    letters = letters_by_entry(pipeline)
    for id_, (name, fields, error_class) in bad.items():
        letter = letters.pop((stream, id_), None)
        assert letter, f"{name}: no dead letter"
        assert (letter["stage"], letter["group"], letter["event_index"]) == (stage, pipeline.group, ""), name
        assert letter["error_class"] == error_class and "term_id" in letter["error"], f"{name}: {letter['error_class']} {letter['error']}"
        for field, value in list(fields.items())[:50]:
            assert letter.get(field) == as_read(value), f"{name}: {field}"
    assert not letters
    assert_undisturbed(services)


def test_ids_beyond_what_a_row_can_hold(pipeline, small):
    """Redis counts to 2^64-1, a BIGINT to 2^63-1."""
    pipeline.streams = [*feeds.streams_of(small), "far"]
    services = pipeline.start()
    pipeline.feed(small)
    pipeline.drain()
    event = small[0].events[0]
    made = [feeds.Message("far", small[0].name, (poison.put(f"{poison.ABOUT}.log_index", 1_000_000 + number)(event),), id=id_)
            for number, id_ in enumerate((f"{2**63 - 1}-{2**63 - 1}", f"{2**63 - 1}-{2**63}", f"{2**63}-0", f"{2**64 - 1}-{2**64 - 1}"))]
    pipeline.feed(made)
    bad = [pipeline.entries.pop() for _ in made[1:]]
    pipeline.drain()
    assert not pipeline.differences()
    letters = letters_by_entry(pipeline)
    assert sorted(letters) == sorted((stream, id_) for stream, id_, _ in bad)
    assert {(letter["error_class"], letter["event_index"]) for letter in letters.values()} == {("range", "")}
    assert all("id is above" in letter["error"] for letter in letters.values())
    before = pipeline.dead_letters()
    dlq(pipeline, "ingest", "retry", "--all", code=1)
    assert pipeline.dead_letters() == before
    assert_undisturbed(services)


# ---------------------------------------------------------------- dlq

def dlq(pipeline, stage, *arguments, code=0, **settings):
    done = pipeline.run(stage, "dlq", *arguments, **settings)
    assert done.returncode == code, f"{stage} dlq {arguments} exits {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def listed(pipeline, stage):
    return json.loads(dlq(pipeline, stage, "list", "--json").stdout)


def ids(letters):
    return [letter["dead_letter_id"] for letter in letters]


def letters_of(pipeline, stage):
    return [letter for letter in pipeline.dead_letters() if letter["stage"] == stage]


def fill(pipeline, rng):
    """Dead letters of all three stages, and the tables of a chain."""
    messages = chain.messages(generated(rng).events)
    pipeline.listen_to(messages)
    client = pipeline.redis()
    for payload in (b"no\0json", b"\xff\xfe{", "\u009b31m \x1b[31m 🦄".encode(), b'{"event_name":"\\u009b"}', b""):
        client.xadd(pipeline.streams[0], {"payload": payload})
    for stream in (pipeline.vault_updates, pipeline.term_updates):
        for fields in ({"term_id": "0x12", "reason": "x", "block_number": "1"}, {"reason": "x"}):
            client.xadd(stream, fields)
    pipeline.start(**NETWORK)
    pipeline.feed(messages)
    pipeline.drain()
    assert Counter(letter["stage"] for letter in pipeline.dead_letters()) == {"ingest": 5, "cascade": 2, "analytics": 2}


def test_list_show_and_drop(pipeline, seed):
    fill(pipeline, random.Random(seed))
    client = pipeline.redis()
    (_, fields), = client.xrange(pipeline.dead_letter_stream, *ids(letters_of(pipeline, "ingest"))[:1], count=1)
    other = client.xadd(pipeline.dead_letter_stream, {**fields, "group": "another-group"})
    for stage in SERVICES:
        own = [letter for letter in letters_of(pipeline, stage) if letter["dead_letter_id"] != other]
        before = pipeline.dead_letters()
        rows = listed(pipeline, stage)
        assert [row["letter"] for row in rows] == ids(own)
        text = dlq(pipeline, stage, "list").stdout
        assert len(text.splitlines()) == 1 + len(own)
        for row, letter, line in zip(rows, own, text.splitlines()[1:]):
            assert line.startswith(letter["dead_letter_id"]) and letter["error_class"] in line and letter["id"] in line
            for name in FIELDS[:-1]:
                assert str(row[name]) == letter[name]
            shown = json.loads(dlq(pipeline, stage, "show", letter["dead_letter_id"], "--json").stdout)
            assert {name: str(shown[name]) for name in FIELDS[:-1]} == {name: letter[name] for name in FIELDS[:-1]}
            assert shown["letter"] == letter["dead_letter_id"]
            assert bare(shown["payload"]) == bare(letter["payload"])
            words = dlq(pipeline, stage, "show", letter["dead_letter_id"]).stdout
            assert letter["error"] in words and not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", words), words
        assert pipeline.dead_letters() == before
        dlq(pipeline, stage, "show", other, code=1)
        dlq(pipeline, stage, "drop", other, code=1)
        dlq(pipeline, stage, "drop", ids(own)[-1])
        dlq(pipeline, stage, "show", ids(own)[-1], code=1)
        assert ids(pipeline.dead_letters()) == [id_ for id_ in ids(before) if id_ != ids(own)[-1]]
        dlq(pipeline, stage, "drop", "--all")
        assert listed(pipeline, stage) == []
        assert ids(pipeline.dead_letters()) == [id_ for id_ in ids(before) if id_ not in ids(own)]
        dlq(pipeline, stage, "drop", "--all")
    assert ids(pipeline.dead_letters()) == [other]
    assert not pipeline.differences(network=chain.NETWORK)


def bare(text):
    """What is left of a text that may hold what is no text: NUL, bytes that are no UTF-8."""
    return "".join(c for c in text if c not in "\0\ufffd" and not "\ud800" <= c <= "\udfff")


def test_bad_usage(pipeline):
    pipeline.migrate()
    for line in ("", "lsit", "list 1-1", "list --all", "show", "show --all", "show 1-1 2-2", "show 1", "show x", "show 1-1 --text", "retry", "retry 1-",
                 "retry 1-1 --all", "retry --everything", "drop", "drop -", "drop 1-1 2", "drop *"):
        for stage in SERVICES:
            assert "usage" in dlq(pipeline, stage, *line.split(), code=2).stderr
    for stage in SERVICES:
        assert listed(pipeline, stage) == []
        for command in ("show", "retry", "drop"):
            dlq(pipeline, stage, command, "1-1", code=1)
        for command in ("retry", "drop"):
            dlq(pipeline, stage, command, "--all")


# Constraints that somebody put on tables of ours, and took away again
EVENTS = list(oracle.EVENT_TABLES)
CAUSES = {
    "event tables": ("ingest", EVENTS, "substr(transaction_hash, 66) <> '0'"),
    "base tables": ("ingest", ["atom", "triple", "position", "vault"], "substr(term_id, 66) >= '4'"),
    "term": ("cascade", ["term"], "substr(id, 66) >= '4'"),
    "triple tables": ("analytics", ["triple_vault", "triple_term"], "substr(term_id, 66) >= '4'"),
}
NO_BACKFILL = {"BACKFILL_INTERVAL_MS": 86_400_000}   # what is not published is not done


def constrain(pipeline, tables, check):
    with pipeline.connect() as connection:
        for table in tables:
            connection.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT somebodys CHECK ({check}) NOT VALID')


def release(pipeline, tables):
    with pipeline.connect() as connection:
        for table in tables:
            connection.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT somebodys')


def settled(pipeline, stages):
    """All entries are read and acked. The outbox may hold what went to the dead letters."""
    reads = {"ingest": pipeline.streams, "cascade": [pipeline.vault_updates], "analytics": [pipeline.term_updates]}

    def condition():
        state = []
        pipeline._look_at_streams([stream for stage in stages for stream in reads[stage]], state)
        return not state
    until(condition, f"{stages} have read and acked all", alive=pipeline.alive())


def positions(pipeline):
    with pipeline.connect() as connection:
        return Counter(connection.execute("SELECT stream, stream_ms || '-' || stream_seq FROM event_standing").fetchall())


@pytest.mark.parametrize("cause", CAUSES)
def test_retry_after_the_cause_is_gone(pipeline, seed, cause):
    rng = random.Random(seed)
    stage, tables, check = CAUSES[cause]
    messages = chain.messages(generated(rng).events, per_entry=6)
    pipeline.migrate().listen_to(messages)
    constrain(pipeline, tables, check)
    services = pipeline.start(MAX_RETRIES=2, **NETWORK, **NO_BACKFILL)
    pipeline.feed(messages)
    for number in range(len(SERVICES)):
        settled(pipeline, SERVICES[:number + 1])
    letters = letters_by_entry(pipeline)
    assert letters and {letter["stage"] for letter in letters.values()} == {stage}
    for letter in letters.values():
        assert (letter["error_class"], letter["attempts"]) == ("database", "2")
        assert "somebodys" in letter["error"] and "23514" in letter["error"]
    assert_undisturbed(services)

    before = pipeline.dead_letters()
    done = dlq(pipeline, stage, "retry", "--all", code=1)
    assert all(id_ in done.stderr for id_ in ids(before)) and "somebodys" in done.stderr
    dlq(pipeline, stage, "retry", ids(before)[0], code=1)
    for other in SERVICES:
        if other != stage:
            dlq(pipeline, other, "retry", "--all")
            dlq(pipeline, other, "retry", ids(before)[0], code=1)
    assert pipeline.dead_letters() == before

    release(pipeline, tables)
    some = rng.sample(ids(before), len(before) // 2)
    dlq(pipeline, stage, "retry", *some)
    assert ids(pipeline.dead_letters()) == [id_ for id_ in ids(before) if id_ not in some]
    if len(some) < len(before) and some:
        dlq(pipeline, stage, "retry", some[0], *ids(pipeline.dead_letters()), code=1)   # one that is gone, and all others
    else:
        dlq(pipeline, stage, "retry", "--all")
    pipeline.drain().assert_exact(network=chain.NETWORK)
    pipeline.assert_verified()
    fed = zip(pipeline.entries, messages)
    assert positions(pipeline) == Counter((stream, id_) for (stream, id_, _), message in fed for _ in message.events)
    assert_undisturbed(services)


@pytest.mark.parametrize("cause", ["term", "triple tables"])
def test_the_backfill_makes_no_second_letter(pipeline, seed, cause):
    """What stays in the outbox is queued again and again, and does what it can once the cause is gone. Its letter stays one."""
    stage, tables, check = CAUSES[cause]
    messages = chain.messages(generated(random.Random(seed)).events, per_entry=6)
    pipeline.migrate().listen_to(messages)
    constrain(pipeline, tables, check)
    services = {service.name: service for service in pipeline.start(MAX_RETRIES=1, **NETWORK, **NO_BACKFILL)}
    pipeline.feed(messages)
    for number in range(len(SERVICES)):
        settled(pipeline, SERVICES[:number + 1])
    before = pipeline.dead_letters()
    assert before
    pipeline.stop(services[stage])
    service = pipeline.start(stage, MAX_RETRIES=1, BACKFILL_INTERVAL_MS=100).ready()
    until(lambda: samples(service, "backfilled_keys_total")[""] > 2 * len(before), "the backfill came several times", alive=[service])
    assert pipeline.dead_letters() == before
    release(pipeline, tables)
    pipeline.drain()
    assert not pipeline.differences(network=chain.NETWORK)
    dlq(pipeline, stage, "retry", "--all")
    pipeline.drain().assert_exact(network=chain.NETWORK)


def test_retry_without_the_services(pipeline, seed):
    """The command does what ingest would have done, and hands the keys on."""
    rng = random.Random(seed)
    stage, tables, check = CAUSES["event tables"]
    messages = chain.messages(generated(rng).events, per_entry=6)
    pipeline.migrate().listen_to(messages)
    constrain(pipeline, tables, check)
    pipeline.start("ingest", WORKERS=1)
    pipeline.feed(messages)
    pipeline.drain(["ingest"])
    pipeline.stop()
    assert pipeline.dead_letters()
    release(pipeline, tables)
    dlq(pipeline, stage, "retry", "--all")
    pipeline.start("cascade", "analytics", **NO_BACKFILL)
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("round_", range(2))
def test_retry_in_a_chain_that_reorganises(pipeline, seed, round_):
    """Events and notices go to the dead letters at random and come back later, in any order: each counts at its place in the stream."""
    rng = random.Random(f"{seed}-{round_}")
    messages = notices = []
    while not notices:
        messages = Branches(rng.random(), ["one"] if round_ else ["a", "b", "c"]).run()
        notices = [int(message.id.split("-")[1]) for message in messages if message.name == poison.NOTICE]
    pipeline.migrate().listen_to(messages)
    digit, version = rng.choice("0123456789abcdef"), rng.randrange(4)
    constrain(pipeline, EVENTS, f"substr(transaction_hash, 66) <> '{digit}' AND substr(block_hash, 66) <> '{version}'")
    constrain(pipeline, ["reorgs"], f"stream_seq % 3 <> {rng.choice(notices) % 3}")
    pipeline.start(MAX_RETRIES=2, WORKERS=2, BATCH_SIZE=rng.choice([1, 10, 100]))
    pipeline.feed(messages)
    pipeline.drain()
    letters = pipeline.dead_letters()
    assert {(letter["stage"], letter["error_class"], letter["attempts"]) for letter in letters} == {("ingest", "database", "2")}
    assert any(poison.NOTICE in letter["payload"] for letter in letters)
    release(pipeline, [*EVENTS, "reorgs"])
    some = rng.sample(ids(letters), len(letters) // 2)
    dlq(pipeline, "ingest", "retry", *some)
    dlq(pipeline, "ingest", "retry", "--all")
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()


def test_a_letter_older_than_a_notice(pipeline, small):
    """The event of the letter was announced before the notice, so it is orphaned when it is stored at last; one from behind it is not."""
    event = small[0].events[0]
    about = event["transaction_information"]
    stream, block = "s", feeds.plain_number(about["block_number"])
    pipeline.streams = [stream]
    pipeline.migrate()
    constrain(pipeline, EVENTS, "log_index < 1000000")

    def message(log_index, hash_):
        its = {**event, poison.ABOUT: {**about, "log_index": log_index, "block_hash": "0x" + hash_ * 32}}
        return feeds.Message(stream, small[0].name, (its,))
    notice = {"type": "reorg", "network": about["network"], "fork_block": block, "depth": 1, "events_deleted": 0, "affected_tx_hashes": [],
              "affected_events": []}
    pipeline.start()
    for part in ([message(1, "aa"), message(1_000_001, "aa")], [feeds.Message(stream, poison.NOTICE, (notice,))],
                 [message(2, "bb"), message(1_000_002, "bb")]):
        pipeline.feed(part)
        pipeline.drain()
    assert [letter["id"] for letter in pipeline.dead_letters()] == [pipeline.entries[1][1], pipeline.entries[4][1]]
    release(pipeline, EVENTS)
    dlq(pipeline, "ingest", "retry", "--all")
    assert_reorged(pipeline.drain())
    with pipeline.connect() as connection:
        found = {table: connection.execute(f"SELECT log_index, stream_ms || '-' || stream_seq FROM {table} ORDER BY log_index").fetchall()
                 for table in ("orphaned_events", "event_standing")}
    placed = list(zip((1, 1_000_001, None, 2, 1_000_002), (id_ for _, id_, _ in pipeline.entries)))
    assert found == {"orphaned_events": placed[:2], "event_standing": placed[3:]}


def test_retry_of_what_stays_bad(pipeline, seed):
    """Each kind: the letter stays as it is, and what was good in the message is not there twice."""
    rng = random.Random(seed)
    the_chain = generated(rng)
    kinds = [kind for kind in poison.kinds(rng) if not kind.large]
    pipeline.streams = [*chain.STREAMS.values(), chain.OTHER_STREAM]
    pipeline.start(**NETWORK)
    feed(pipeline, poison.brew(kinds, the_chain, rng), chain.messages(the_chain.events), rng)
    pipeline.drain()
    before = pipeline.dead_letters()
    done = dlq(pipeline, "ingest", "retry", "--all", code=1, **NETWORK)
    assert sum(id_ in done.stderr for id_ in ids(before)) == len(before) == len(kinds)
    pipeline.drain()
    assert pipeline.dead_letters() == before
    assert not pipeline.differences(network=chain.NETWORK)
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM repeated_sightings").fetchone()[0] == 0


def test_retry_with_another_network(pipeline, small):
    """The database knows its network: a retry with another NETWORK is refused, and the letters stay."""
    pipeline.listen_to(small).start("ingest", NETWORK=poison.OTHER_NETWORK)
    pipeline.feed(small[:20])
    pipeline.drain(["ingest"])
    before = pipeline.dead_letters()
    assert len(before) == 20 and {letter["error_class"] for letter in before} == {"network"}
    network = small[0].events[0][poison.ABOUT]["network"]
    done = dlq(pipeline, "ingest", "retry", "--all", code=1, NETWORK=network)
    assert "pinned_network" in done.stderr
    dlq(pipeline, "ingest", "retry", "--all", code=1)
    assert pipeline.dead_letters() == before


def test_retry_of_what_is_lost(pipeline, small):
    """There is nothing left to handle: the letter stays until it is dropped."""
    pipeline.migrate().listen_to(small)
    client = pipeline.redis()
    stream = small[0].stream
    client.xgroup_create(stream, pipeline.group, id="0", mkstream=True)
    gone = feeds.write(client, [small[0]])[0][1]
    client.xreadgroup(pipeline.group, "dead", {stream: ">"})
    client.xtrim(stream, 0)
    pipeline.start("ingest", CLAIM_IDLE_MS=1)
    until(pipeline.dead_letters, "the lost entry has a letter", alive=pipeline.alive())
    (letter,) = pipeline.dead_letters()
    assert (letter["id"], letter["error_class"]) == (gone, "lost")
    assert letter["dead_letter_id"] in dlq(pipeline, "ingest", "retry", "--all", code=1).stderr
    dlq(pipeline, "ingest", "drop", letter["dead_letter_id"])
    assert not pipeline.dead_letters()


def test_retry_while_postgresql_is_away(pipeline, small):
    pipeline.listen_to(small).start("ingest", **NETWORK)
    pipeline.redis().xadd(small[0].stream, {"payload": "no json"})
    pipeline.drain(["ingest"])
    before = pipeline.dead_letters()
    for away in ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, {"REDIS_URL": "redis://127.0.0.1:1/0"}):
        assert dlq(pipeline, "ingest", "retry", "--all", code=1, **away).stderr
    assert pipeline.dead_letters() == before
