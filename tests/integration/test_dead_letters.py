"""What can never be stored: exactly one dead letter per message, with its reason; everything else is stored all the same."""
import json

import pytest

import feeds
import oracle
from test_sequences import STREAM, deposit, deposits, id32
from waiting import until

FIELDS = ("stage", "stream", "id", "group", "error_class", "error", "attempts", "first_seen", "payload")


def changed(**members):
    """One event with other members; of transaction_information where that has the name."""
    def change(event):
        about = {**event["transaction_information"], **{k: v for k, v in members.items() if k in event["transaction_information"]}}
        return {**event, **{k: v for k, v in members.items() if k not in about}, "transaction_information": about}
    return change


def without(member):
    def change(event):
        about = {k: v for k, v in event["transaction_information"].items() if k != member}
        return {**{k: v for k, v in event.items() if k != member}, "transaction_information": about}
    return change


class Number:
    """A number as it shall stand in the JSON."""

    def __init__(self, text):
        self.text = text


# name -> (what the error must name, what is done to one deposit)
EVENTS = {
    "a word for a number": ("assets", changed(assets="ten")),
    "2^256": ("assets", changed(assets=str(2**256))),
    "2^256 in hex": ("shares", changed(shares=hex(2**256))),
    "2^256 as a number": ("totalShares", changed(totalShares=2**256)),
    "a negative amount": ("assets", changed(assets="-1")),
    "a negative number": ("assets", changed(assets=-1)),
    "an empty amount": ("assets", changed(assets="")),
    "0x alone": ("assets", changed(assets="0x")),
    "hex without 0x": ("assets", changed(assets="ff")),
    "a blank in front": ("assets", changed(assets=" 1")),
    "a fraction": ("assets", changed(assets=1.5)),
    "a whole fraction": ("assets", changed(assets=1.0)),
    "an exponent": ("assets", changed(assets=Number("1e5"))),
    "true": ("assets", changed(assets=True)),
    "null": ("assets", changed(assets=None)),
    "an array": ("assets", changed(assets=["1"])),
    "an object": ("assets", changed(assets={"hex": "0x1"})),
    "no amount": ("assetsAfterFees", without("assetsAfterFees")),
    "another case": ("termId", lambda e: changed(TERMID=e["termId"])(without("termId")(e))),
    "a short id": ("termId", changed(termId="0x" + "ab" * 31)),
    "a long id": ("termId", changed(termId="ab" * 33)),
    "no hex in an id": ("termId", changed(termId="0x" + "zz" * 32)),
    "a short address": ("receiver", changed(receiver="0x" + "ab" * 19)),
    "an odd address": ("sender", changed(sender="0x" + "a" * 39)),
    "a vault type too great": ("vaultType", changed(vaultType=32768)),
    "a vault type below": ("vaultType", changed(vaultType=-1)),
    "a curve too great": ("curveId", changed(curveId=str(2**256))),
    "a block too far": ("block_number", changed(block_number=2**63)),
    "a log index too great": ("log_index", changed(log_index=hex(2**63))),
    "a transaction index too great": ("transaction_index", changed(transaction_index=str(2**64))),
    "a time too late": ("block_timestamp", changed(block_timestamp=2**40 + 1)),
    "a time in words": ("block_timestamp", changed(block_timestamp="2026-01-30T12:00:00Z")),
    "a short hash": ("transaction_hash", changed(transaction_hash="0x12")),
    "no block hash": ("block_hash", without("block_hash")),
    "no log index": ("log_index", without("log_index")),
    "another network": ("network", changed(network="intuition-mainnet")),
    "no transaction_information": ("transaction_information", lambda e: {k: v for k, v in e.items() if k != "transaction_information"}),
    "transaction_information in words": ("transaction_information", lambda e: {**e, "transaction_information": "none"}),
    "no event at all": ("", lambda e: None),
    "a number for an event": ("", lambda e: 5),
}

MESSAGES = {
    "empty": b"",
    "no JSON": b"hello",
    "half of it": b'{"event_name":"Deposited","event_data":[',
    "more behind": b'{"event_name":"Deposited","event_data":[]} x',
    "two values": b'{"event_name":"Deposited","event_data":[]}{}',
    "an array": b"[]",
    "a text": b'"Deposited"',
    "null": b"null",
    "no UTF-8": b'{"event_name":"D\xff","event_data":[]}',
    "a raw NUL": b'{"event_name":"Deposited\0","event_data":[]}',
    "an escaped NUL in the name": b'{"event_name":"Deposited\\u0000","event_data":[{}]}',
    "a raw line end in a text": b'{"event_name":"Depo\nsited","event_data":[]}',
    "half a surrogate pair": b'{"event_name":"\\ud83e","event_data":[{}]}',
    "a comma too many": b'{"event_name":"Deposited","event_data":[],}',
    "01": b'{"event_name":"Deposited","event_data":[],"block_number":01}',
    "1.": b'{"event_name":"Deposited","event_data":[],"block_number":1.}',
    "NaN": b'{"event_name":"Deposited","event_data":[],"block_number":NaN}',
    "a byte order mark": b'\xef\xbb\xbf{"event_name":"Deposited","event_data":[]}',
    "no name": b'{"event_data":[]}',
    "a number for a name": b'{"event_name":5,"event_data":[]}',
    "no events": b'{"event_name":"Deposited"}',
    "a text for events": b'{"event_name":"Deposited","event_data":"[]"}',
    "null for events": b'{"event_name":"Deposited","event_data":null}',
    "a hundred thousand levels": b'{"event_name":"Deposited","event_data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


def dumps(message):
    """JSON in which a Number stands word for word."""
    marks = []

    def mark(one):
        marks.append(one.text)
        return f"\x01{len(marks) - 1}\x01"
    text = json.dumps({"event_name": message.name, "event_data": list(message.events), "network": "intuition-testnet"}, default=mark)
    for i, number in enumerate(marks):
        text = text.replace(f'"\\u0001{i}\\u0001"', number)
    return text


def deposits_of(messages):
    return [event for message in messages if message.name == "Deposited" for event in message.events]


def check_letter(pipeline, letter, entry, word):
    stream, id_, payload = entry
    assert all(field in letter for field in FIELDS), letter.keys()
    assert any(field in ("event_index", "event_indexes") for field in letter), letter.keys()
    assert (letter["stage"], letter["stream"], letter["id"], letter["group"]) == ("ingest", stream, id_, pipeline.group)
    expected = payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")
    assert letter["payload"] == expected
    assert letter["error_class"] and letter["attempts"].isdigit() and letter["first_seen"]
    assert word in letter["error"], f"{letter['error']} does not name {word}"
    assert len(letter["error"]) < 2000


def letters_by_id(pipeline):
    found = {}
    for letter in pipeline.dead_letters():
        assert (letter["stream"], letter["id"]) not in found, f"a second dead letter for one message: {letter}"
        found[letter["stream"], letter["id"]] = letter
    return found


def test_bad_events_among_good_ones(pipeline, recording):
    """Each message has two good deposits around a bad one: these are stored, the message has one dead letter that says which and why."""
    deposits = deposits_of(recording)
    stream = next(m.stream for m in recording if m.name == "Deposited")
    messages = []
    for number, (word, change) in enumerate(EVENTS.values()):
        before, bad, after = deposits[3 * number:3 * number + 3]
        message = feeds.Message(stream, "Deposited", (before, change(bad), after))
        messages.append(feeds.Message(stream, "Deposited", message.events, raw=dumps(message)))
    pipeline.listen_to(messages)
    pipeline.feed([feeds.Message(stream, "Deposited", tuple(deposits[-5:]))])
    services = pipeline.start(NETWORK="intuition-testnet")
    pipeline.feed(messages)
    pipeline.drain()
    differences = pipeline.differences(network="intuition-testnet")
    assert not differences, differences[:5]
    letters = letters_by_id(pipeline)
    bad = dict(zip(EVENTS, pipeline.entries[1:]))
    assert [name for name, entry in bad.items() if entry[:2] not in letters] == []
    assert len(letters) == len(EVENTS)
    for name, entry in bad.items():
        letter = letters[entry[:2]]
        check_letter(pipeline, letter, entry, EVENTS[name][0])
        assert letter.get("event_index", letter.get("event_indexes")) == "1", name
    status, text = services[0].get("/metrics")
    assert status == 200 and services[0].running()


def test_messages_that_are_none(pipeline, small):
    stream = small[0].stream
    messages = [feeds.Message(stream, "", (), raw=raw) for raw in MESSAGES.values()]
    pipeline.listen_to(small).start()
    pipeline.feed(messages)
    pipeline.feed(feeds.new_ids(small))
    pipeline.drain()
    assert not pipeline.differences()
    letters = letters_by_id(pipeline)
    bad = dict(zip(MESSAGES, pipeline.entries))
    assert [name for name, entry in bad.items() if entry[:2] not in letters] == []
    assert len(letters) == len(MESSAGES)
    for entry in bad.values():
        check_letter(pipeline, letters[entry[:2]], entry, "")


def test_an_entry_without_a_known_field(pipeline, small):
    pipeline.listen_to(small).start()
    client = pipeline.redis()
    ids = [client.xadd(pipeline.streams[0], fields) for fields in ({"Payload": "{}"}, {"x": "1", "y": ""})]
    pipeline.feed(feeds.new_ids(small))
    pipeline.drain()
    assert not pipeline.differences()
    letters = letters_by_id(pipeline)
    assert sorted(letters) == sorted((pipeline.streams[0], id_) for id_ in ids)
    assert all("payload" in letter["error"] for letter in letters.values())


def test_the_first_known_field_counts(pipeline, small):
    """payload before event_data before data."""
    pipeline.listen_to(small).start()
    client = pipeline.redis()
    for message in small:
        fields = {"data": "no json", "event_data": message.payload()} if len(pipeline.entries) % 2 else \
            {"event_data": "no json", "payload": message.payload()}
        pipeline.entries.append((message.stream, client.xadd(message.stream, fields), message.payload()))
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("value", ['"a\\u0000b"', "1e200000"])
def test_generic_events_that_jsonb_cannot_hold(pipeline, small, value):
    about = small[0].events[0]["transaction_information"]
    bad, good = (json.dumps({**about, "log_index": log_index}) for log_index in (1_000_000, 1_000_001))
    raw = f'{{"event_name":"Unheard","event_data":[{{"a":{value},"transaction_information":{bad}}},{{"a":1,"transaction_information":{good}}}]}}'
    pipeline.streams = ["other", *feeds.streams_of(small)]
    pipeline.start(MAX_RETRIES=2)
    entry = feeds.write(pipeline.redis(), [feeds.Message("other", "Unheard", (), raw=raw)])[0]
    pipeline.feed(small)
    pipeline.drain()
    assert list(letters_by_id(pipeline)) == [entry[:2]]
    with pipeline.connect() as connection:
        assert connection.execute("SELECT log_index FROM generic_events").fetchall() == [(1_000_001,)], "its good event is stored"
    assert not pipeline.differences(tables=[name for name in oracle.TABLES if name != "generic_events"])


def test_a_message_is_dead_once_however_many_read_it(pipeline, small):
    """Two replicas, and a claim of everything that is a moment old."""
    stream = small[0].stream
    bad = [feeds.Message(stream, "", (), raw=f"no json {i}") for i in range(200)]
    pipeline.listen_to(small)
    for _ in range(2):
        pipeline.start(CLAIM_IDLE_MS=20, BATCH_SIZE=5)
    pipeline.feed(bad)
    pipeline.feed(feeds.new_ids(small))
    pipeline.drain()
    assert len(letters_by_id(pipeline)) == 200
    assert not pipeline.differences()


def test_failures_are_counted(pipeline, small):
    services = pipeline.listen_to(small).start()
    pipeline.feed([feeds.Message(small[0].stream, "", (), raw="no json")])
    pipeline.drain(["ingest"])

    def counted():
        lines = services[0].get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("events_failed_total")) >= 1
    until(counted, "events_failed_total counts it", alive=services)
    assert json.loads(services[0].get("/health")[1])["metrics"]["total_events_failed"] >= 1


@pytest.mark.parametrize("stage,stream", [("cascade", "vault_updates"), ("analytics", "term_updates")])
def test_bad_entries_of_the_internal_streams(pipeline, small, stage, stream):
    pipeline.listen_to(small).start()
    client = pipeline.redis()
    bad = [client.xadd(stream, fields) for fields in ({"term_id": "0x12", "reason": "x", "block_number": "1"}, {"reason": "x"}, {"x": "y"})]
    pipeline.feed(small)
    pipeline.drain()
    assert not pipeline.differences()
    letters = letters_by_id(pipeline)
    assert sorted(letters) == sorted((stream, id_) for id_ in bad)
    assert all(letter["stage"] == stage for letter in letters.values())


@pytest.mark.parametrize("state", ["21000", "22023", "23514"])
def test_what_postgresql_refuses_of_one_event_stops_no_other(pipeline, state):
    """By SQLSTATE: these classes say that the data is at fault, whatever statement of whose trigger finds it."""
    pipeline.streams = [STREAM]
    pipeline.migrate()
    with pipeline.connect() as connection:
        connection.execute(f"""CREATE FUNCTION somebodys() RETURNS trigger LANGUAGE plpgsql AS $$
                               BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$""")
        connection.execute("""CREATE TRIGGER somebodys BEFORE INSERT ON deposited_events FOR EACH ROW WHEN (NEW.block_number = 6)
                              EXECUTE FUNCTION somebodys()""")
    pipeline.feed([deposits(deposit(1), deposit(2, number=6, hash_=6), deposit(3)), deposits(deposit(4))])
    pipeline.start()
    pipeline.drain()
    letter, = pipeline.dead_letters()
    assert (letter["error_class"], letter["event_index"]) == ("database", "1") and f"SQLSTATE {state}" in letter["error"]
    with pipeline.connect() as connection:
        assert connection.execute("SELECT array_agg(transaction_hash ORDER BY 1) FROM deposited_events").fetchone()[0] == [id32(n) for n in (1, 3, 4)]
