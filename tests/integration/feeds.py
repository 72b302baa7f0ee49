"""Feeds: messages as a producer would write them, and pure functions that vary them (same seed, same result).

A Message is one stream entry before it is written. Nothing here changes what the events mean, so every variant of a feed must end
in the same tables, unless its function says otherwise.
"""
import json
import lzma
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Message:
    stream: str
    name: str
    events: tuple
    id: str = None                 # None: the server gives one when it is written
    envelope: tuple = ()           # further members, as (name, value) pairs
    field: str = "payload"         # the entry's field that holds the JSON
    as_object: bool = False        # event_data is the one event itself, not an array
    raw: object = None             # text or bytes written instead (what is no message at all)

    def payload(self):
        if self.raw is not None:
            return self.raw
        data = self.events[0] if self.as_object else list(self.events)
        return json.dumps({"event_name": self.name, "event_data": data, **dict(self.envelope)}, ensure_ascii=False)


def load(file):
    """A recording below tests/data -> [Message], ids included."""
    with lzma.open(DATA / file, "rt", encoding="utf-8") as lines:
        return [_message(json.loads(line)) for line in lines]


def _message(entry):
    payload = json.loads(entry["fields"]["payload"])
    name, events = payload.pop("event_name"), payload.pop("event_data")
    return Message(entry["stream"], name, tuple(events), entry["id"], tuple(payload.items()), raw=entry["fields"]["payload"])


def load_truth(file):
    with lzma.open(DATA / file, "rt", encoding="utf-8") as text:
        return json.load(text)


def streams_of(messages):
    return sorted({message.stream for message in messages})


def event_count(messages):
    return sum(len(message.events) for message in messages)


def plain_number(value):
    return int(str(value), 0)


def block_of(message):
    return plain_number(message.events[0]["transaction_information"]["block_number"]) if message.events else 0


def prefix(messages, events=3000):
    """All messages of the first blocks, so many that there are at least `events` events."""
    per_block = defaultdict(int)
    for message in messages:
        per_block[block_of(message)] += len(message.events)
    total, last = 0, 0
    for block in sorted(per_block):
        total, last = total + per_block[block], block
        if total >= events:
            break
    return [message for message in messages if block_of(message) <= last]


# ---------------------------------------------------------------- order, number, streams

def new_ids(messages):
    """The server gives the ids."""
    return [replace(message, id=None) for message in messages]


def shuffled(messages, seed):
    """Any order, within and across streams, and within each message."""
    rng = random.Random(seed)
    mixed = [replace(m, id=None, events=tuple(rng.sample(m.events, len(m.events))), raw=None) for m in messages]
    rng.shuffle(mixed)
    return mixed


def doubled(messages, seed, share=0.2):
    """A share of the messages stands twice, the second one anywhere later."""
    rng = random.Random(seed)
    places = [(i, m) for i, m in enumerate(messages)]
    places += [(rng.uniform(i, len(messages)), m) for i, m in enumerate(messages) if rng.random() < share]
    return new_ids(m for _, m in sorted(places, key=lambda place: place[0]))


def single_stream(messages, stream="rindexer_producer"):
    return [replace(message, stream=stream, id=None) for message in messages]


def regrouped(messages, seed, size):
    """Entries of `size` events of one kind each, any blocks mixed, as a producer's historical sync writes them."""
    rng = random.Random(seed)
    kinds = defaultdict(list)
    for message in messages:
        kinds[message.stream, message.name, dict(message.envelope).get("network")].extend(message.events)
    entries = []
    for (stream, name, network), events in kinds.items():
        rng.shuffle(events)
        envelope = (("network", network),) if network is not None else ()
        entries += [Message(stream, name, tuple(events[i:i + size]), envelope=envelope) for i in range(0, len(events), size)]
    rng.shuffle(entries)
    return entries


def one_object(messages):
    """event_data is an object, one event per entry, as older producers write it."""
    return [replace(m, id=None, events=(event,), as_object=True, raw=None) for m in messages for event in m.events]


def in_field(messages, field):
    return [replace(message, field=field, id=None) for message in messages]


# ---------------------------------------------------------------- how values are written

NUMBERS = {"assets", "assetsAfterFees", "shares", "totalShares", "fees", "sharePrice", "totalAssets", "curveId", "vaultType",
           "block_number", "log_index", "transaction_index", "block_timestamp"}
HEX = {"creator", "termId", "atomData", "atomWallet", "subjectId", "predicateId", "objectId", "sender", "receiver",
       "address", "block_hash", "transaction_hash"}


def _rewritten(messages, members, write, keep=()):
    def event(one, name):
        return {k: _about(v) if k == "transaction_information" else write(v) if k in members and name not in keep else v
                for k, v in one.items()}

    def _about(about):
        return {k: write(v) if k in members and v is not None else v for k, v in about.items()}

    return [replace(m, raw=None, events=tuple(event(e, m.name) for e in m.events)) for m in messages]


KNOWN = {"AtomCreated", "TripleCreated", "Deposited", "Redeemed", "SharePriceChanged"}


def _generic_names(messages):
    return {message.name for message in messages} - KNOWN


def _random_case(rng, digits):
    bits = f"{rng.getrandbits(len(digits)):0{len(digits)}b}"   # one draw for all: a draw a letter takes most of a test's time
    mixed = "".join(c.upper() if bit == "1" else c.lower() for c, bit in zip(digits, bits))
    return rng.choice((digits.lower(), digits.upper(), mixed))


def numbers(messages, seed):
    """Numbers as JSON numbers, decimal strings and hex strings, at random for each field."""
    rng = random.Random(seed)

    def write(value):
        n = plain_number(value)
        return rng.choice((n, str(n), "00" + str(n), f"0x{_random_case(rng, format(n, 'x'))}", f"0x0{n:x}"))
    return _rewritten(messages, NUMBERS, write, keep=_generic_names(messages))


def casing(messages, seed):
    """Ids, hashes, addresses and data with and without 0x, in any case."""
    rng = random.Random(seed)

    def write(value):
        return rng.choice(("", "0x")) + _random_case(rng, value.removeprefix("0x"))
    return _rewritten(messages, HEX, write, keep=_generic_names(messages))


def null_timestamps(messages, seed, share=0.5):
    """block_timestamp is null for a share of the blocks. Times of these events are then their created_at: other tables."""
    rng = random.Random(seed)
    fate = defaultdict(lambda: rng.random() < share)

    def event(one):
        about = one["transaction_information"]
        return {**one, "transaction_information": {**about, "block_timestamp": None}} if fate[about["block_hash"]] else one
    return [replace(m, raw=None, events=tuple(event(e) for e in m.events)) for m in messages]


# ---------------------------------------------------------------- writing

def write(client, messages, at_once=200):
    """XADDs the messages in their order and returns the entries as written: [(stream, id, payload)]."""
    entries = []
    messages = list(messages)
    for start in range(0, len(messages), at_once):
        part = messages[start:start + at_once]
        pipe = client.pipeline(transaction=False)
        for message in part:
            pipe.xadd(message.stream, {message.field: message.payload()}, id=message.id or "*")
        entries += [(m.stream, id_, m.payload()) for m, id_ in zip(part, pipe.execute())]
    return entries


def as_entries(messages):
    """What write() would return, without a server: ids rise by one millisecond where a message has none."""
    return [(m.stream, m.id or f"{i + 1}-0", m.payload()) for i, m in enumerate(messages)]
