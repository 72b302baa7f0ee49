"""Poison: messages of which something, or all, can never be stored. And what only looks like it.

    kinds(rng)                    every Kind: what is done to a good message, and what its dead letter must say
    HARMLESS                      {name: (event name, what is done to a good message)}: all of it must be stored
    KEYS, HARMLESS_KEYS           the same for the entries of the internal streams
    brew(kinds, chain, rng)       -> [Poison]: a message of each kind

An event in them is a copy of one of the chain, in a transaction of its own. So it belongs to the chain's terms, vaults and accounts: were a
bad one stored, or a good one lost, tables of every level would differ.
"""
import json
from dataclasses import dataclass

import chain
import feeds

OTHER_NETWORK = "intuition-mainnet"
SQL = "'; DROP TABLE deposited_events, atom, vault CASCADE; --"
DEEPEST, DEEP = 256, 100_000       # levels: what is allowed, and the poison
LARGE = 10 * 1024 * 1024           # bytes
MANY, SHOWN = 150, 100             # bad events of one message, and how many of their places its letter shows
GENERIC, ABOUT, NOTICE = "Unheard", "transaction_information", "__rindexer_reorg"


@dataclass(frozen=True)
class Kind:
    name: str
    error_class: str
    says: str                      # what the error must say; of a bad event what follows event_data[its place]
    event: str = "Deposited"       # the message's event name
    change: object = None          # an event -> what stands in its place
    bad: int = 1                   # how many events are changed
    rewrite: object = None         # or: the whole message's text -> text or bytes
    every: bool = False            # a rewritten message has its faults event by event: all are bad
    field: str = "payload"         # the entry's field that holds it
    large: bool = False


@dataclass(frozen=True)
class Poison:
    kind: Kind
    message: feeds.Message
    good: str                      # the text of a message of its good events alone; None where there are none
    places: tuple                  # of the bad events; () where the message as a whole is bad

    def event_index(self):
        return ",".join(map(str, self.places[:SHOWN])) + (",…" if len(self.places) > SHOWN else "")

    def says(self):
        return f"event_data[{self.places[0]}]{self.kind.says}" if self.kind.change else self.kind.says


# ---------------------------------------------------------------- writing JSON

class Verbatim:
    """A value as it shall stand in the JSON."""

    def __init__(self, text):
        self.text = text


class Members(list):
    """An object as (name, value) pairs: names may be equal."""


def dumps(value):
    """JSON in ASCII. Lone surrogates and NUL become escapes."""
    if isinstance(value, Verbatim):
        return value.text
    if isinstance(value, dict):
        value = Members(value.items())
    if isinstance(value, Members):
        return "{" + ",".join(f"{json.dumps(name)}:{dumps(one)}" for name, one in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value)


def text_of(name, events):
    return dumps({"event_name": name, "event_data": events, "network": chain.NETWORK})


def arrays(levels):
    return Verbatim("[" * levels + "]" * levels)


def objects(levels):
    return Verbatim('{"a":' * (levels - 1) + "{}" + "}" * (levels - 1))


# ---------------------------------------------------------------- changing one event; a field is "name" or "transaction_information.name"

def put(field, value):
    inside, _, name = field.rpartition(".")

    def change(event):
        return {**event, ABOUT: {**event[ABOUT], name: value}} if inside else {**event, name: value}
    return change


def drop(field):
    inside, _, name = field.rpartition(".")

    def change(event):
        if inside:
            return {**event, ABOUT: drop(name)(event[ABOUT])}
        return {k: v for k, v in event.items() if k != name}
    return change


def rename(field, to):
    inside, _, name = field.rpartition(".")

    def change(event):
        if inside:
            return {**event, ABOUT: rename(name, to)(event[ABOUT])}
        return {to if k == name else k: v for k, v in event.items()}
    return change


def twice(field, first, last):
    """The member stands twice; each side is a function of its value."""
    def change(event):
        return Members([(field, first(event[field])), *drop(field)(event).items(), (field, last(event[field]))])
    return change


def same(value):
    return value


def all_sql(value):
    return {k: all_sql(v) for k, v in value.items()} if isinstance(value, dict) else SQL


# ---------------------------------------------------------------- rewriting a whole message

def each(change):
    """All events changed."""
    return envelope(event_data=lambda events: [change(event) for event in events])


def envelope(**members):
    """Members of the message: another value, a function of the value, or MISSING."""
    def rewrite(text):
        message = json.loads(text)
        for name, value in members.items():
            message[name] = value(message[name]) if callable(value) else value
        return dumps({name: value for name, value in message.items() if value is not MISSING})
    return rewrite


MISSING = object()


def beside(text):
    """A member beside the others, in the text as it stands."""
    return lambda message: message[:-1] + f',"x":{text}}}'


def instead(whole):
    return lambda message: whole


def notice(events):
    return instead(dumps({"event_name": NOTICE, "event_data": events, "network": chain.NETWORK, "block_number": 0}))


# ---------------------------------------------------------------- the fields, by their form

AMOUNT, INDEX, VAULT_TYPE, TIME, ID, ADDRESS, BYTES = "amount", "index", "vault type", "time", "id", "address", "bytes"
FIELDS = {
    "AtomCreated": {"creator": ADDRESS, "termId": ID, "atomData": BYTES, "atomWallet": ADDRESS},
    "TripleCreated": {"creator": ADDRESS, "termId": ID, "subjectId": ID, "predicateId": ID, "objectId": ID},
    "Deposited": {"sender": ADDRESS, "receiver": ADDRESS, "termId": ID, "curveId": AMOUNT, "assets": AMOUNT, "assetsAfterFees": AMOUNT,
                  "shares": AMOUNT, "totalShares": AMOUNT, "vaultType": VAULT_TYPE},
    "Redeemed": {"sender": ADDRESS, "receiver": ADDRESS, "termId": ID, "curveId": AMOUNT, "shares": AMOUNT, "totalShares": AMOUNT,
                 "assets": AMOUNT, "fees": AMOUNT, "vaultType": VAULT_TYPE},
    "SharePriceChanged": {"termId": ID, "curveId": AMOUNT, "sharePrice": AMOUNT, "totalAssets": AMOUNT, "totalShares": AMOUNT,
                          "vaultType": VAULT_TYPE},
}
NETWORK = f"{ABOUT}.network"
ABOUT_FIELDS = {f"{ABOUT}.{name}": form for name, form in {
    "address": ADDRESS, "block_hash": ID, "block_number": INDEX, "transaction_hash": ID, "log_index": INDEX, "transaction_index": INDEX,
    "block_timestamp": TIME}.items()}
MAY_MISS = f"{ABOUT}.block_timestamp"
MOST = {AMOUNT: 2**256 - 1, INDEX: 2**63 - 1, VAULT_TYPE: 32767, TIME: 2**40}
SIZES = {ID: 32, ADDRESS: 20}

NO_NUMBERS = {
    "a word": "ten", "an empty text": "", "0x alone": "0x", "hex without 0x": "ff", "0x and no hex": "0xg1", "0x within": "10x1",
    "digits and a letter": "12a", "a blank in front": " 1", "a blank behind": "1 ", "a line end behind": "1\n", "a plus": "+1",
    "-1": -1, "-1 as text": "-1", "-0": Verbatim("-0"), "1.5": 1.5, "1.0": 1.0, "1.5 as text": "1.5", "1e5": Verbatim("1e5"),
    "1E+5": Verbatim("1E+5"), "1e5 as text": "1e5", "1,000": "1,000", "digits of another script": "\u0661\u0662", "NaN as text": "NaN",
    "a NUL behind": "1\0", "a NUL in front": "\x001", "a NUL alone": "\0", "a lone surrogate": "\ud83e", "a lone surrogate behind": "1\udd84",
}


def bad_values(form):
    """-> (name, value, error class) for a field of this form"""
    if form in MOST:
        above = MOST[form] + 1
        yield from ((name, value, "format") for name, value in NO_NUMBERS.items())
        yield from ((name, value, "range") for name, value in (
            ("one too many", above), ("one too many as text", str(above)), ("one too many as hex", hex(above)),
            ("2^256", 2**256), ("2^256 as hex", hex(2**256)), ("5,000 digits", Verbatim("9" * 5000))))
    if form in SIZES:
        size = SIZES[form]
        for name, digits in (("a byte short", "ab" * (size - 1)), ("a byte long", "ab" * (size + 1)), ("a digit short", "a" * (2 * size - 1)),
                             ("a digit long", "a" * (2 * size + 1)), ("no hex", "zz" * size), ("one digit no hex", "a" * (2 * size - 1) + "g"),
                             ("a NUL behind", "ab" * size + "\0"), ("a NUL within", "ab" * (size - 1) + "a\0"),
                             ("a blank behind", "ab" * size + " "), ("nothing", "")):
            yield name, "0x" + digits, "format"
            yield f"{name}, without 0x", digits, "format"
        yield "0x twice", "0x0x" + "ab" * (size - 1), "format"
        yield "letters of another script", "\u0430" * size, "format"
    if form == BYTES:
        yield from ((name, value, "format") for name, value in (
            ("odd", "0x123"), ("odd without 0x", "123"), ("one digit", "0x1"), ("no hex", "0xzz"), ("0x twice", "0x0x"), ("a blank", "61 62"), ("a lone surrogate", "0x61\ud83e"),
            ("a NUL", "61\x000"), ("text", "hello"), ("a line end", "6162\n6")))


def wrong_type(form, rng, null):
    """Text is right for every form. null: it is wrong, too."""
    more = [None] if null else []
    more += [] if form in MOST else [5, 1.5, 10**30]
    return rng.choice([True, False, [], ["0x1"], {}, {"value": "1"}, *more])


# ---------------------------------------------------------------- the kinds

def value_kinds(rng):
    """Every bad value of every form, in any field of that form."""
    for form in (*MOST, *SIZES, BYTES):
        fields = [(event, field) for event, own in FIELDS.items() for field, its in {**own, **ABOUT_FIELDS}.items() if its == form]
        for name, value, error_class in bad_values(form):
            event, field = rng.choice(fields)
            yield Kind(f"{form}, {name}: {event}.{field}", error_class, f".{field}: ", event, put(field, value))


def field_kinds(rng):
    """Every field of every event: missing, under another name, of another type, SQL."""
    for event, own in FIELDS.items():
        for field, form in {**own, **ABOUT_FIELDS}.items():
            short, name, path, must = f"{event}.{field}", field.rpartition(".")[2], f".{field}: ", field != MAY_MISS
            other = rng.choice((name.upper(), name.capitalize(), f"{name} ", f"{name}\0", f"\0{name}"))
            wrong = wrong_type(form, rng, null=must)
            if must:
                yield Kind(f"{short} missing", "missing", f"{path}is missing", event, drop(field))
                yield Kind(f"{short} as {other!r}", "missing", f"{path}is missing", event, rename(field, other))
            yield Kind(f"{short} is {dumps(wrong)}", "type", path, event, put(field, wrong))
            yield Kind(f"{short} is SQL", "format", f"{path}{json.dumps(SQL)} ", event, put(field, SQL))


def network_kinds():
    path, other = f".{NETWORK}: ", f'network: "{OTHER_NETWORK}" is not "{chain.NETWORK}"'
    yield Kind("another network", "network", f".{ABOUT}.{other}", change=put(NETWORK, OTHER_NETWORK))
    for name, value in (("in another case", chain.NETWORK.upper()), ("with a blank", chain.NETWORK + " "), ("of SQL", SQL),
                        ("of 100 KB", "n" * 100_000)):
        yield Kind(f"a network {name}", "network", path, change=put(NETWORK, value))
    for name, value in (("with a NUL", chain.NETWORK + "\0"), ("of nothing", ""), ("of a NUL", "\0"),
                        ("with a lone surrogate", chain.NETWORK + "\ud83e")):
        yield Kind(f"a network {name}", "format", path, change=put(NETWORK, value))
    for value in (5, True, [], {}):
        yield Kind(f"the network {dumps(value)}", "type", path, change=put(NETWORK, value))

    def of_envelope(value):
        return lambda text: envelope(network=value)(each(drop(NETWORK))(text))
    yield Kind("another network, the envelope's", "network", other, rewrite=of_envelope(OTHER_NETWORK), every=True)
    yield Kind("the network 5, the envelope's", "type", "network: 5 is not a string", rewrite=of_envelope(5), every=True)
    yield Kind("no network anywhere", "missing", f"event_data[0].{NETWORK}: is missing", rewrite=of_envelope(MISSING), every=True)


def event_kinds():
    yield Kind("no transaction_information", "missing", f".{ABOUT}: is missing", change=drop(ABOUT))
    yield Kind("Transaction_Information", "missing", f".{ABOUT}: is missing", change=rename(ABOUT, ABOUT.title()))
    for value in (None, "none", 5, [], [{}], True):
        yield Kind(f"{ABOUT} is {dumps(value)}", "type", f".{ABOUT}: ", change=put(ABOUT, value))
    yield Kind(f"{ABOUT} is empty", "missing", f".{ABOUT}.", change=put(ABOUT, {"network": chain.NETWORK}))
    for value in (None, 5, 1.5, "an event", True, [], [{}]):
        yield Kind(f"the event {dumps(value)}", "type", ": ", change=lambda event, value=value: value)
    yield Kind("the event {}", "missing", f".{ABOUT}: is missing", change=lambda event: {})
    yield Kind("an event in an array", "type", ": an array is not an object", change=lambda event: [event])
    yield Kind("an event as text", "type", ": ", change=dumps)
    yield Kind("SQL in every place", "network", f".{NETWORK}: {json.dumps(SQL)} ", change=all_sql)
    yield Kind("of two members the last is bad", "format", '.assets: "ten" ', change=twice("assets", same, lambda value: "ten"))
    yield Kind(f"of two {ABOUT} the last is bad", "type", f".{ABOUT}: null ", change=twice(ABOUT, same, lambda value: None))
    yield Kind("several bad events", "missing", ".termId: is missing", change=drop("termId"), bad=3)
    yield Kind("many bad events", "missing", ".totalShares: is missing", change=drop("totalShares"), bad=MANY)
    yield Kind("a deposit among prices", "missing", ".sharePrice: is missing", "SharePriceChanged", rename("sharePrice", "assets"))
    yield Kind("an event of 100 KB for a number", "format", '.shares: "' + "x" * 60, change=put("shares", "x" * 100_000))
    yield Kind("10 MB for an id", "format", '.termId: "' + "ab" * 30, change=put("termId", "ab" * (LARGE // 2)), large=True)
    yield Kind("10 MB and one digit of atomData", "format", '.atomData: "0xabab', "AtomCreated",
               put("atomData", "0x" + "ab" * (LARGE // 2) + "a"), large=True)


def generic_kinds():
    """Where any content is right there is still what PostgreSQL cannot hold."""
    nul = ": an object that holds a NUL"
    yield Kind("a NUL in a text", "format", nul, GENERIC, put("text", "a\0b"))
    yield Kind("a NUL in a name", "format", nul, GENERIC, put("a\0b", 1))
    yield Kind("a NUL deep inside", "format", nul, GENERIC, put("a", [[{"b": [1, {"c": "\0"}]}]]))
    yield Kind("a number that JSONB cannot hold", "database", ": generic_events refused by PostgreSQL: ", GENERIC,
               put("a", Verbatim("1e200000")))
    alone = ": an object that holds a lone surrogate"
    yield Kind("a lone high surrogate in a text", "format", alone, GENERIC, put("text", "a\ud83eb"))
    yield Kind("a lone low surrogate in a name", "format", alone, GENERIC, put("a\udd84", 1))
    yield Kind("surrogates in the wrong order", "format", alone, GENERIC, put("a", [["\udd84\ud83e"]]))
    for name in (GENERIC, "Deposited"):
        yield Kind(f"a lone surrogate behind the name {name}", "format", f'event_name: "{name}\\udfff" ', rewrite=envelope(event_name=name + "\udfff"),
                   every=True)
        yield Kind(f"a NUL behind the name {name}", "format", f'event_name: "{name}\\u0000" ', rewrite=envelope(event_name=name + "\0"),
                   every=True)


def notice_kinds():
    good = {"type": "reorg", "network": chain.NETWORK, "fork_block": 0, "depth": 1}
    for field in good:
        if field != "network":   # the envelope has one
            yield Kind(f"a notice without {field}", "missing", f"event_data[0].{field}: is missing", rewrite=notice([drop(field)(good)]))
    for field, value, error_class in (
            ("fork_block", -1, "format"), ("fork_block", 2**63, "range"), ("fork_block", None, "type"), ("fork_block", "", "format"),
            ("fork_block", 0.0, "format"), ("depth", -1, "format"), ("depth", hex(2**63), "range"), ("depth", [1], "type"),
            ("depth", SQL, "format"), ("type", "Reorg", "format"), ("type", 1, "type"), ("network", OTHER_NETWORK, "network"),
            ("network", "", "format"), ("network", 5, "type")):
        yield Kind(f"a notice of {field} {dumps(value)}", error_class, f"event_data[0].{field}: ",
                   rewrite=notice([put(field, value)(good)]))
    yield Kind("two notices in one", "format", "event_data: ", rewrite=notice([good, put("depth", 2)(good)]))
    yield Kind("an empty notice", "missing", "event_data[0]: is missing", rewrite=notice([]))
    yield Kind("a notice of null", "type", "event_data[0]: null ", rewrite=notice([None]))
    yield Kind("a notice with a lone surrogate", "format", "event_data[0]: an object that holds a lone surrogate", rewrite=notice([put("x", "\ud83e")(good)]))
    yield Kind("a notice with a NUL", "format", "event_data[0]: an object that holds a NUL", rewrite=notice([put("x", "\0")(good)]))


def envelope_kinds():
    for value in ([], "Deposited", 5, 1.5, None, True, False, [[]]):
        yield Kind(f"the message {dumps(value)}", "type", "the message: ", rewrite=instead(dumps(value)))
    yield Kind("the message in an array", "type", "the message: an array is not an object", rewrite=lambda text: f"[{text}]")
    yield Kind("the message as text", "type", "the message: ", rewrite=json.dumps)
    yield Kind("the message {}", "missing", "event_name: is missing", rewrite=instead("{}"))
    for member in ("event_name", "event_data"):
        yield Kind(f"no {member}", "missing", f"{member}: is missing", rewrite=envelope(**{member: MISSING}))
        for other in (member.title(), member.upper(), member.title().replace("_", ""), f"{member} ", f"{member}\0"):
            yield Kind(f"{member} as {other!r}", "missing", f"{member}: is missing",
                       rewrite=lambda text, member=member, other=other: dumps(rename(member, other)(json.loads(text))))
        for value in (None, 5, True, {} if member == "event_name" else "[]", [] if member == "event_name" else 1.5):
            yield Kind(f"{member} is {dumps(value)}", "type", f"{member}: ", rewrite=envelope(**{member: value}))
    yield Kind("an empty event_name", "format", 'event_name: "" is empty', rewrite=envelope(event_name=""))
    yield Kind("event_data as text", "type", "event_data: ", rewrite=envelope(event_data=dumps))
    yield Kind("of two event_data the last is bad", "type", "event_data: null ", rewrite=lambda text: text[:-1] + ',"event_data":null}')
    for field in ("Payload", "payload ", "Event_Data", "json", "", "data\0"):
        yield Kind(f"no payload, but {field!r}", "missing", "none of the fields payload, event_data, data", field=field, rewrite=same)


def json_kinds():
    """What is no JSON: (name, what the error says behind "byte N: ", what is done to the text)."""
    def within(bad):
        """Bad bytes inside a text of the message."""
        return lambda text: text.encode().replace(b'"event_data"', b'"x":"' + bad + b'","event_data"')

    value, behind = "not a JSON value", "something follows the value"
    for name, says, rewrite in (
            ("nothing", "the text ends where a value is due", instead("")),
            ("blanks", "the text ends where a value is due", instead(" \t\r\n ")),
            ("a word", value, instead("hello")),
            ("XML", value, instead("<event/>")),
            ("SQL", value, instead(SQL)),
            ("single quotes", "a member name is missing", lambda text: text.replace('"', "'")),
            ("Python's own", "", lambda text: text.replace('"network"', '"x":None,"network"', 1)),
            ("a name without quotes", "a member name is missing", lambda text: text.replace('"event_name"', "event_name")),
            ("a comment", "", lambda text: "/* events */" + text),
            ("the first half", "", lambda text: text[:len(text) // 2]),
            ("all but the last byte", "", lambda text: text[:-1]),
            ("the second half", "", lambda text: text[len(text) // 2:]),
            ("a word behind", behind, lambda text: text + " x"),
            ("two values", behind, lambda text: text + text),
            ("two values on two lines", behind, lambda text: text + "\n" + text),
            ("a comma behind", behind, lambda text: text + ","),
            ("a bracket behind", behind, lambda text: text + "}"),
            ("a comma too many", "a member name is missing", lambda text: text[:-1] + ",}"),
            ("a comma too many in the array", value, lambda text: text.replace("}]", "},]", 1)),
            ("a colon missing", "a colon is missing", lambda text: text.replace('"event_name":', '"event_name" ', 1)),
            ("a comma missing", "a comma or a closing bracket is missing", lambda text: text.replace(',"event_data"', ' "event_data"', 1)),
            ("brackets crossed", "", lambda text: text[:-1] + "]"),
            ("a NUL byte behind", behind, lambda text: text.encode() + b"\0"),
            ("a NUL byte in front", value, lambda text: b"\0" + text.encode()),
            ("a NUL byte in a text", "a raw control character in a string", within(b"a\0b")),
            ("a raw line end in a text", "a raw control character in a string", within(b"a\nb")),
            ("a surrogate's bytes", "invalid UTF-8", within(b"\xed\xa0\xbe")),
            ("a byte FF", "invalid UTF-8", within(b"\xff")),
            ("a lone continuation byte", "invalid UTF-8", within(b"\x80")),
            ("a cut character", "invalid UTF-8", within(b"\xf0\x9f\xa6")),
            ("an overlong slash", "invalid UTF-8", within(b"\xc0\xaf")),
            ("an overlong NUL", "invalid UTF-8", within(b"\xc0\x80")),
            ("above U+10FFFF", "invalid UTF-8", within(b"\xf4\x90\x80\x80")),
            ("Latin-1", "invalid UTF-8", within("café".encode("latin-1"))),
            ("a byte order mark", value, lambda text: b"\xef\xbb\xbf" + text.encode()),
            ("UTF-16", value, lambda text: text.encode("utf-16")),
            ("UTF-32", "", lambda text: text.encode("utf-32-le")),
            ("no such escape", "no such escape", within(b"\\x41")),
            ("half an escape", "four hex digits", within(b"\\u12")),
            ("an escape at the end", "", lambda text: text[:-1] + ',"\\'),
            ("a leading zero", "a leading zero", beside("01")),
            ("a point and nothing", "a digit is missing", beside("1.")),
            ("nothing and a point", value, beside(".5")),
            ("an exponent of nothing", "a digit is missing", beside("1e")),
            ("a minus alone", "a digit is missing", beside("-")),
            ("a plus", value, beside("+1")),
            ("a hex number", "", beside("0x1")),
            ("NaN", value, beside("NaN")),
            ("Infinity", value, beside("Infinity")),
            ("minus Infinity", "a digit is missing", beside("-Infinity")),
            ("True", value, beside("True")),
            ("undefined", value, beside("undefined")),
            ("a blank of another script", value, lambda text: "\u00a0" + text),
            ("100,000 arrays", "nested too deep", beside(arrays(DEEP).text)),
            ("100,000 objects", "nested too deep", beside(objects(DEEP).text)),
            ("100,000 levels for an amount", "nested too deep", each(put("assets", arrays(DEEP)))),
            ("100,000 brackets never closed", "nested too deep", lambda text: "[" * DEEP),
            ("one level too many", "nested too deep", beside(arrays(DEEPEST).text))):
        yield Kind(f"not JSON: {name}", "json", says, rewrite=rewrite)
    for name, says, rewrite in (
            ("junk", value, instead("junk " * (LARGE // 5))),
            ("zeros", value, instead(b"\0" * LARGE)),
            ("a text without end", "the text ends within a string", instead('{"event_name":"' + "x" * LARGE)),
            ("brackets", "nested too deep", instead("[" * LARGE)),
            ("numbers", "more values than a message may hold", instead("[" + "1," * (LARGE // 2) + "1] x"))):
        yield Kind(f"10 MB of {name}", "json", says, rewrite=rewrite, large=True)


def kinds(rng):
    return [*value_kinds(rng), *field_kinds(rng), *network_kinds(), *event_kinds(), *generic_kinds(), *notice_kinds(),
            *envelope_kinds(), *json_kinds()]


HARMLESS = {
    "10 MB in a member nobody knows": ("Deposited", each(put("note", "x" * (LARGE // 2)))),
    "10 MB of blanks": ("Redeemed", lambda text: text.replace(",", "," + " " * LARGE, 1)),
    "10 MB of atomData": ("AtomCreated", each(put("atomData", "0x" + "ab" * (LARGE // 2)))),
    "10 MB in an event of another name": (GENERIC, each(put("text", "€" * (LARGE // 12)))),
    "the deepest": ("Deposited", beside(arrays(DEEPEST - 1).text)),
    "the deepest, objects": ("Deposited", beside(objects(DEEPEST - 1).text)),
    "the deepest, stored": (GENERIC, each(put("deep", arrays(DEEPEST - 3)))),
    "SQL in members nobody knows": ("Redeemed", each(lambda event: {**event, "note": SQL, SQL: SQL, ABOUT: {**event[ABOUT], SQL: SQL}})),
    "SQL in an event of another name": (GENERIC, lambda text: envelope(event_name=SQL)(each(put(SQL, [SQL, {SQL: SQL}]))(text))),
    "a NUL in a member nobody knows": ("Deposited", each(put("note", "a\0b"))),
    "a NUL in the name of a member nobody knows": ("Deposited", each(put("assets\0", "ten"))),
    "a lone surrogate in a member nobody knows": ("Deposited", each(put("note", "\ud83e"))),
    "a lone surrogate in the name of a member nobody knows": ("Redeemed", each(put("assets\udd84", "ten"))),
    "a lone surrogate in the envelope": ("Deposited", envelope(extra="\ud83e\ud83e")),
    "a number beyond all in a member nobody knows": ("Deposited", each(put("note", Verbatim("-1.5e+400000")))),
    "members of other cases beside the right ones": ("Deposited", each(lambda e: {**e, "ASSETS": "ten", "termid": 5, ABOUT.title(): None})),
    "of two members the first is bad": ("Deposited", each(twice("assets", lambda value: "ten", same))),
    f"of two {ABOUT} the first is bad": ("Deposited", each(twice(ABOUT, lambda value: None, same))),
    "another network, the envelope's only": ("Deposited", envelope(network=OTHER_NETWORK)),
    "a number for the envelope's network only": ("Deposited", envelope(network=5)),
    "the envelope's network alone": ("Redeemed", each(drop(NETWORK))),
    "an envelope of bad members": ("Deposited", envelope(block_number="x", message_id=[], event_signature_hash={"a": None}, extra=-1.5)),
    "no events": ("Deposited", envelope(event_data=[])),
    "white space": ("Deposited", lambda text: "\r\n\t " + text.replace(":", " : ").replace(",", "\n,\t") + " \n"),
    "escapes": ("TripleCreated", lambda text: text.replace("event_data", "\\u0065vent_d\\u0061ta").replace("0x", "\\u0030\\u0078")),
    "surrogate pairs": (GENERIC, each(put("text", "🦄 \U0010ffff"))),
    "a long name": (GENERIC, envelope(event_name="".join(chr(0x4e00 + i * 7919 % 20000) for i in range(100_000)))),
    "the most": ("Deposited", lambda text: each(put(f"{ABOUT}.transaction_index", 2**63 - 1))(each(put("curveId", 2**256 - 1))(text))),
    "the greatest vault type": ("Redeemed", each(put("vaultType", "0x7fff"))),
    "the latest time": ("Redeemed", each(put(MAY_MISS, str(2**40)))),
    "no time": ("TripleCreated", each(put(MAY_MISS, None))),
    "5,000 leading zeros": ("SharePriceChanged", each(put("curveId", "0" * 5000 + "1"))),
    "an empty object": (GENERIC, each(lambda event: {ABOUT: event[ABOUT]})),
}

_ID = "0x" + "ab" * 32
# entries of the internal streams: name -> (fields, error class)
KEYS = {
    "no term_id": ({"reason": "x", "block_number": "1"}, "missing"),
    "another case": ({"TERM_ID": _ID, "reason": "x", "block_number": "1"}, "missing"),
    "JSON": ({"payload": json.dumps({"term_id": _ID})}, "missing"),
    "something else": ({"": ""}, "missing"),
    "many fields": ({f"field {i}": str(i) for i in range(5000)}, "missing"),
    "an empty term_id": ({"term_id": ""}, "format"),
    "31 bytes": ({"term_id": "0x" + "ab" * 31}, "format"),
    "33 bytes": ({"term_id": "0x" + "ab" * 33}, "format"),
    "without 0x": ({"term_id": "ab" * 32}, "format"),
    "without 0x, as long": ({"term_id": "ab" * 33}, "format"),
    "upper case": ({"term_id": "0x" + "AB" * 32}, "format"),
    "no hex": ({"term_id": "0x" + "zz" * 32}, "format"),
    "a NUL within": ({"term_id": _ID[:40] + "\0" + _ID[41:]}, "format"),
    "a NUL behind": ({"term_id": _ID + "\0"}, "format"),
    "a line end behind": ({"term_id": _ID + "\n"}, "format"),
    "SQL": ({"term_id": SQL, "curve_id": SQL, "reason": SQL, "block_number": SQL}, "format"),
    "no UTF-8": ({"term_id": b"0x" + b"\xff" * 64}, "format"),
    "10 MB": ({"term_id": "ab" * (LARGE // 2)}, "format"),
}
HARMLESS_KEYS = {
    "a term nobody knows": {"term_id": _ID, "curve_id": "1", "reason": "x", "block_number": "1"},
    "a term alone": {"term_id": _ID},
    "SQL beside it": {"term_id": _ID, "curve_id": SQL, "reason": SQL, "block_number": SQL},
    "no numbers": {"term_id": _ID, "curve_id": "-1.5", "reason": "", "block_number": "99999999999999999999999"},
    "no UTF-8 beside it": {"term_id": _ID, "curve_id": b"\xff", "reason": b"\xff\x00", "block_number": b"\xff"},
    "10 MB beside it": {"term_id": _ID, "reason": "x" * LARGE},
}


# ---------------------------------------------------------------- messages

def _pools(the_chain):
    pools = {name: [event for its, event in the_chain.events if its == name] for name in FIELDS}
    pools[GENERIC] = [{"text": "x", "number": 5, ABOUT: event[ABOUT]} for event in pools["Deposited"]]
    return pools


def _fresh(event, rng):
    return put(f"{ABOUT}.transaction_hash", f"0x{rng.randrange(2**256):064x}")(event)


def _events(pools, name, number, rng):
    return [_fresh(rng.choice(pools[name]), rng) for _ in range(number)]


def _stream(name):
    return chain.STREAMS.get(name, chain.OTHER_STREAM)


def _brewed(kind, pools, good, rng):
    events = _events(pools, kind.event, good + kind.bad, rng)
    if kind.rewrite:
        raw, rest, places = kind.rewrite(text_of(kind.event, events)), [], tuple(range(len(events))) if kind.every else ()
    else:
        places = tuple(sorted(rng.sample(range(len(events)), kind.bad)))
        raw = text_of(kind.event, [kind.change(event) if i in places else event for i, event in enumerate(events)])
        rest = [event for i, event in enumerate(events) if i not in places]
    message = feeds.Message(_stream(kind.event), kind.event, (), raw=raw, field=kind.field)
    return Poison(kind, message, text_of(kind.event, rest) if rest else None, places)


def brew(kinds_, the_chain, rng, good=2):
    """A message of each kind. good: events that are right in each of them, anywhere around the bad one."""
    pools = _pools(the_chain)
    return [_brewed(kind, pools, good, rng) for kind in kinds_]


def harmless(the_chain, rng):
    """-> {name: message}"""
    pools = _pools(the_chain)
    return {name: feeds.Message(_stream(event), event, (), raw=rewrite(text_of(event, _events(pools, event, 2, rng))))
            for name, (event, rewrite) in HARMLESS.items()}
