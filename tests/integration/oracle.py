"""Every table of every level, computed from scratch from stream entries, to compare a database with.

Independent of the project's SQL and C: its own JSON checks, number and id parsing, its own arithmetic on Python's integers.
Times are whole microseconds since 1970 (years beyond 9999 are valid input, Python's datetime is not enough).

    expected = compute(entries)                 entries = [(stream, id, payload text), …], id "milliseconds-sequence"
    differences = compare(connection, entries)  [] when the database is exact

Where the contract is silent: two live events of one (block number, log index) stand in the order of their times, then
of their transaction hashes; the
first deposit of a position at such a tie has the least time.
"""
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from keccak import checksum_address, counter_id

AMOUNT_MAX = 2**256 - 1
WEI = 10**18
NOTICE = "__rindexer_reorg"


# ---------------------------------------------------------------- tables

# How a column is read: text, int (exact), time (microseconds), bytes, json
@dataclass(frozen=True)
class Table:
    key: tuple
    columns: dict   # name -> kind, the key's included


def _table(key, **kinds):
    columns = {name: kind for kind, names in kinds.items() for name in names.split()}
    return Table(tuple(key.split()), columns)


_EVENT = "transaction_hash address block_hash network"
_EVENT_INT = "log_index block_number transaction_index"


def _event_table(text, integer="", **more):
    return _table("transaction_hash log_index", text=f"{_EVENT} {text}", int=f"{_EVENT_INT} {integer}", time="block_timestamp", **more)


EVENT_TABLES = {
    "atom_created_events": _event_table("creator atom_wallet term_id atom_data", bytes="raw_data"),
    "triple_created_events": _event_table("creator term_id subject_id predicate_id object_id counter_term_id"),
    "deposited_events": _event_table("sender receiver term_id curve_id assets assets_after_fees shares total_shares", "vault_type"),
    "redeemed_events": _event_table("sender receiver term_id curve_id assets fees shares total_shares", "vault_type"),
    "share_price_changed_events": _event_table("term_id curve_id share_price total_assets total_shares", "vault_type"),
    "generic_events": _event_table("event_name", json="event_data"),
}
DERIVED_TABLES = {
    "atom": _table("term_id", text="term_id wallet_id creator_id data type emoji label image value_id resolving_status",
                   bytes="raw_data", int="last_event_block last_event_log_index", time="created_at updated_at"),
    "triple": _table("term_id", text="term_id creator_id subject_id predicate_id object_id counter_term_id",
                     int="last_event_block last_event_log_index", time="created_at updated_at"),
    "position": _table("account_id term_id curve_id", text="account_id term_id curve_id", time="created_at updated_at",
                       int="shares total_deposit_assets_after_total_fees total_redeem_assets_for_receiver"),
    "vault": _table("term_id curve_id", text="term_id curve_id vault_type", time="created_at updated_at",
                    int="total_shares current_share_price total_assets position_count market_cap"),
    "term": _table("id", text="id type atom_id triple_id", int="total_assets total_market_cap", time="created_at updated_at"),
    "triple_vault": _table("term_id counter_term_id curve_id", text="term_id counter_term_id curve_id",
                           int="total_shares total_assets position_count market_cap"),
    "triple_term": _table("term_id counter_term_id", text="term_id counter_term_id",
                          int="total_assets total_market_cap total_position_count"),
    "predicate_object": _table("predicate_id object_id", text="predicate_id object_id",
                               int="triple_count total_position_count total_market_cap"),
    "subject_predicate": _table("subject_id predicate_id", text="subject_id predicate_id",
                                int="triple_count total_position_count total_market_cap"),
}
TABLES = EVENT_TABLES | DERIVED_TABLES

TABLE_OF = {
    "AtomCreated": "atom_created_events",
    "TripleCreated": "triple_created_events",
    "Deposited": "deposited_events",
    "Redeemed": "redeemed_events",
    "SharePriceChanged": "share_price_changed_events",
}


# ---------------------------------------------------------------- reading entries

class Bad(Exception):
    """A message or an event that can never be stored."""


class Number(str):
    """A JSON number as it stands in the text."""


_MISSING = object()


def _constant(text):
    raise Bad(f"not JSON: {text}")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_constant)


def read_json(payload):
    try:
        text = payload if isinstance(payload, str) else payload.decode("utf-8")
        text.encode("utf-8")
        value = _DECODER.decode(text)
        return value
    except (ValueError, RecursionError) as problem:
        raise Bad(f"not JSON: {problem}") from None


_DECIMAL = re.compile(r"[0-9]+\Z", re.ASCII)
_HEX_NUMBER = re.compile(r"0x[0-9a-fA-F]+\Z")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)\Z")


def number(value, most):
    if isinstance(value, str) and _DECIMAL.match(value):
        if isinstance(value, Number) and len(value) > 1 and value[0] == "0":
            raise Bad("a JSON number with leading zeros")
        digits, base = value, 10
    elif isinstance(value, str) and not isinstance(value, Number) and _HEX_NUMBER.match(value):
        digits, base = value[2:], 16
    else:
        raise Bad("not a number")
    digits = digits.lstrip("0") or "0"
    if len(digits) > 80 or int(digits, base) > most:
        raise Bad("out of range")
    return int(digits, base)


def _hex(value, size=None):
    match = isinstance(value, str) and not isinstance(value, Number) and _HEX.match(value)
    if not match or (size is not None and len(match[1]) != 2 * size):
        raise Bad("not hex of the right length")
    return match[1].lower()


def _id(value):
    return "0x" + _hex(value, 32)


def _address(value):
    return checksum_address(_hex(value, 20))


def _amount(value):
    return str(number(value, AMOUNT_MAX))


def _vault_type(value):
    return number(value, 32767)


def _bytes(value):
    return bytes.fromhex(_hex(value))


# event name -> (column, member, parser)
_MEMBERS = {
    "AtomCreated": (("creator", "creator", _address), ("term_id", "termId", _id), ("raw_data", "atomData", _bytes),
                    ("atom_wallet", "atomWallet", _address)),
    "TripleCreated": (("creator", "creator", _address), ("term_id", "termId", _id), ("subject_id", "subjectId", _id),
                      ("predicate_id", "predicateId", _id), ("object_id", "objectId", _id)),
    "Deposited": (("sender", "sender", _address), ("receiver", "receiver", _address), ("term_id", "termId", _id),
                  ("curve_id", "curveId", _amount), ("assets", "assets", _amount), ("assets_after_fees", "assetsAfterFees", _amount),
                  ("shares", "shares", _amount), ("total_shares", "totalShares", _amount), ("vault_type", "vaultType", _vault_type)),
    "Redeemed": (("sender", "sender", _address), ("receiver", "receiver", _address), ("term_id", "termId", _id),
                 ("curve_id", "curveId", _amount), ("shares", "shares", _amount), ("total_shares", "totalShares", _amount),
                 ("assets", "assets", _amount), ("fees", "fees", _amount), ("vault_type", "vaultType", _vault_type)),
    "SharePriceChanged": (("term_id", "termId", _id), ("curve_id", "curveId", _amount), ("share_price", "sharePrice", _amount),
                          ("total_assets", "totalAssets", _amount), ("total_shares", "totalShares", _amount),
                          ("vault_type", "vaultType", _vault_type)),
}


def _text_or_bytes(data):
    """-> (text, None) or (None, bytes)"""
    try:
        if b"\0" not in data:
            return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    return None, data


def _as_json(value):
    """A value read by read_json, with numbers as exact Decimals, NUL refused (JSONB has none)."""
    if isinstance(value, Number):
        return Decimal(value)
    if isinstance(value, str):
        if "\0" in value:
            raise Bad("NUL in text")
        return value
    if isinstance(value, dict):
        return {_as_json(k): _as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_as_json(v) for v in value]
    return value


def read_event(name, event, network=None):
    """One event -> (table, row), where row has every column of its table but created_at. Bad names the member that is wrong."""
    if not isinstance(event, dict) or not isinstance(event.get("transaction_information"), dict):
        raise Bad("transaction_information is not an object")
    about = event["transaction_information"]

    def take(source, member, parse):
        if member not in source:
            raise Bad(f"{member} is missing")
        try:
            return parse(source[member])
        except Bad as problem:
            raise Bad(f"{member}: {problem}") from None

    row = {
        "transaction_hash": take(about, "transaction_hash", _id),
        "log_index": take(about, "log_index", lambda v: number(v, 2**63 - 1)),
        "address": "0x" + take(about, "address", lambda v: _hex(v, 20)),
        "block_hash": take(about, "block_hash", _id),
        "block_number": take(about, "block_number", lambda v: number(v, 2**63 - 1)),
        "transaction_index": take(about, "transaction_index", lambda v: number(v, 2**63 - 1)),
        "network": about.get("network", network),
        "block_timestamp": None,
    }
    if type(row["network"]) is not str:
        raise Bad("network is not text")
    if about.get("block_timestamp") is not None:
        row["block_timestamp"] = take(about, "block_timestamp", lambda v: number(v, 2**40)) * 1_000_000
    if name not in _MEMBERS:
        row["event_name"] = name
        row["event_data"] = _as_json({k: v for k, v in event.items() if k != "transaction_information"})
        return "generic_events", row
    for column, member, parse in _MEMBERS[name]:
        row[column] = take(event, member, parse)
    if name == "AtomCreated":
        row["atom_data"], row["raw_data"] = _text_or_bytes(row["raw_data"])
    if name == "TripleCreated":
        row["counter_term_id"] = counter_id(row["term_id"])
    return TABLE_OF[name], row


@dataclass
class Notice:
    network: str
    fork_block: int
    depth: int


@dataclass
class Message:
    rows: list = field(default_factory=list)     # [(table, row)]
    faults: list = field(default_factory=list)   # [(index in event_data, reason)]; index None: the whole message
    notice: Notice = None


@lru_cache(maxsize=1 << 17)
def read_message(payload, network=None):
    """One entry's text -> what of it can be stored and what not; to be read only. `network`: the one to take, None takes any."""
    message = Message()
    try:
        envelope = read_json(payload)
        if not isinstance(envelope, dict):
            raise Bad("not an object")
        name = envelope.get("event_name", _MISSING)
        if type(name) is not str or "\0" in name:
            raise Bad("event_name is not text")
        events = envelope.get("event_data", _MISSING)
        if isinstance(events, dict):
            events = [events]
        if not isinstance(events, list):
            raise Bad("event_data is neither an array nor an object")
        if name == NOTICE:
            about = events[0] if events and isinstance(events[0], dict) else {}
            message.notice = Notice(about.get("network"), number(about.get("fork_block"), 2**63 - 1), number(about.get("depth"), 2**63 - 1))
            return message
    except Bad as problem:
        message.faults.append((None, str(problem)))
        return message
    for index, event in enumerate(events):
        try:
            table, row = read_event(name, event, envelope.get("network"))
            if network is not None and row["network"] != network:
                raise Bad(f"network: {row['network']} is not {network}")
            message.rows.append((table, row))
        except Bad as problem:
            message.faults.append((index, str(problem)))
    return message


def position_of(entry_id):
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


# ---------------------------------------------------------------- which events are live

def _notices(found, window):
    """[(position, notice)] in any order -> the positions and fork blocks that count, copies folded into their first."""
    firsts = []
    for position, notice in sorted(found, key=lambda one: one[0]):
        key = (notice.network, notice.fork_block, notice.depth)
        if not any(key == other and position[0] - at[0] <= window for at, other in firsts):
            firsts.append((position, key))
    return [(position, key[1]) for position, key in firsts]


@dataclass
class Verdict:
    """What the chain said of a block: from `milliseconds` on, its moment, it is the block's state, until a notice of any stream reaches the block.
    live None: of the block nothing, but that some events are not in it; only a later verdict that has such an event ends that."""
    block_number: int
    block_hash: str
    live: bool
    milliseconds: int
    rows: tuple = ()     # (table, row): the events that were inserted with it
    absent: tuple = ()   # (table, transaction hash, log index)
    mends: bool = False  # the rows were corrected, where they stood
    positions: tuple = ()   # (stream, (milliseconds, sequence)): the last id there at that moment, where that is not its own

    def after(self, stream, position):
        """Whether what has this position in the stream came after it."""
        return position > dict(self.positions).get(stream, (self.milliseconds, -1))


def _live_blocks(stream, sightings, notices, latest=(), standing=()):
    """sightings: {(number, hash): {position, …}} of a stream -> the blocks that are live there. latest: {block: its last verdict}."""
    live = set()
    for (number_, hash_), positions in sightings.items():
        cuts = sorted(at for at, fork_block in notices if fork_block <= number_)
        if (number_, hash_) in latest:
            verdict = latest[number_, hash_]
            if (number_, hash_) in standing:
                live |= {(number_, hash_)} if verdict.live else set()
                continue
            cuts = [at for at in cuts if verdict.after(stream, at)]
            positions = {at for at in positions if verdict.after(stream, at)} | ({(-1, -1)} if verdict.live else set())
        epochs = {sum(at < position for at in cuts) for position in positions}
        announced = False
        for epoch in range(len(cuts) + 1):
            announced = epoch in epochs and not announced
        if announced:
            live.add((number_, hash_))
    return live


@dataclass
class Expected:
    tables: dict        # table -> {key: {column: value}}
    orphaned: dict      # (table, transaction hash, log index, block hash) -> "orphaned" or "superseded"
    faults: dict        # (stream, id) -> [(index or None, reason)]
    notices: list       # [(stream, id, Notice)], copies included


def sort_out(entries, network=None, window=5000, verdicts=()):
    """-> live: {(table, transaction hash, log index): row}, orphaned, faults, notices (see Expected)."""
    sightings, notices = defaultdict(lambda: defaultdict(set)), defaultdict(list)
    events, faults, all_notices = {}, {}, []
    for stream, entry_id, payload in entries:
        position = position_of(entry_id)
        message = read_message(payload, network)
        if message.faults:
            faults[stream, entry_id] = message.faults
        if message.notice:
            notices[stream].append((position, message.notice))
            all_notices.append((stream, entry_id, message.notice))
        for table, row in message.rows:
            sightings[stream][row["block_number"], row["block_hash"]].add(position)
            event = (stream, table, row["transaction_hash"], row["log_index"], row["block_hash"])
            if event not in events or events[event][0] < position:
                events.pop(event, None)   # of several versions in one entry the first one counts: they stand in the entry's order
                events[event] = (position, row)
    for verdict in verdicts:
        for table, row in verdict.rows:
            event = ("chain", table, row["transaction_hash"], row["log_index"], row["block_hash"])
            if event not in events or events[event][0] < (verdict.milliseconds, 0):
                events[event] = ((verdict.milliseconds, 0), row)
    counting = {stream: _notices(found, window) for stream, found in notices.items()}
    latest = {(v.block_number, v.block_hash): v for v in sorted(verdicts, key=lambda v: v.milliseconds) if v.live is not None}
    standing = {block for block, v in latest.items()
                if not any(fork <= block[0] and v.after(stream, at) for stream, found in counting.items() for at, fork in found)}
    live_blocks = {stream: _live_blocks(stream, seen, counting.get(stream, []), latest, standing) for stream, seen in sightings.items()}
    live_blocks["chain"] = {block for block in standing if latest[block].live}
    absent = {(*event, v.block_hash) for v in verdicts for event in v.absent
              if events.get(("chain", *event, v.block_hash), ((-1, 0),))[0] <= (v.milliseconds, 0)}
    orphaned, candidates, live = {}, defaultdict(list), {}
    for (stream, table, transaction, log_index, block), (position, row) in events.items():
        key = (table, transaction, log_index)
        if (row["block_number"], block) not in live_blocks[stream] or (*key, block) in absent:
            orphaned.setdefault((*key, block), "orphaned")
        else:
            candidates[key].append((stream, position, row))
    moments = {v.milliseconds: v for v in verdicts}
    for key, found in candidates.items():
        from_chain = [moments[position[0]] for stream, position, _ in found if stream == "chain"]

        def order(one):
            stream, position, _ = one
            return max((v.milliseconds for v in from_chain if v.after(stream, position)), default=-1), stream != "chain", *position, stream
        live[key] = max(found, key=order)[2]   # of several in one entry the first one
        orphaned.update({(*key, row["block_hash"]): "superseded" for _, _, row in found if row["block_hash"] != live[key]["block_hash"]})
    for key, row in live.items():
        orphaned.pop((*key, row["block_hash"]), None)
    return live, orphaned, faults, all_notices


# ---------------------------------------------------------------- the tables above the events

def _order(row):
    return row["block_number"], row["log_index"], row["time"], row["transaction_hash"]


def _grouped(rows, *columns):
    """-> {key: rows in chain order}"""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[c] for c in columns)].append(row)
    for group in groups.values():
        group.sort(key=_order)
    return groups


def _first_and_last(rows):
    return {"created_at": rows[0]["time"], "updated_at": rows[-1]["time"]}


def _atoms(created):
    for (term_id,), rows in _grouped(created, "term_id").items():
        last = rows[-1]
        yield {"term_id": term_id, "wallet_id": last["atom_wallet"], "creator_id": last["creator"], "data": last["atom_data"],
               "raw_data": last["raw_data"], "type": None, "emoji": None, "label": None, "image": None, "value_id": None,
               "resolving_status": "Pending", "last_event_block": last["block_number"], "last_event_log_index": last["log_index"],
               **_first_and_last(rows)}


def _triples(created):
    for (term_id,), rows in _grouped(created, "term_id").items():
        last = rows[-1]
        yield {"term_id": term_id, "creator_id": last["creator"], "subject_id": last["subject_id"], "predicate_id": last["predicate_id"],
               "object_id": last["object_id"], "counter_term_id": last["counter_term_id"], "last_event_block": last["block_number"],
               "last_event_log_index": last["log_index"], **_first_and_last(rows)}


def _positions(deposited, redeemed):
    for key, rows in _grouped(deposited + redeemed, "receiver", "term_id", "curve_id").items():
        deposits = [row for row in rows if "assets_after_fees" in row]
        start = (deposits or rows)[0]
        at = (start["block_number"], start["log_index"])
        yield {"account_id": key[0], "term_id": key[1], "curve_id": key[2], "shares": int(rows[-1]["total_shares"]),
               "total_deposit_assets_after_total_fees": sum(int(row["assets_after_fees"]) for row in deposits),
               "total_redeem_assets_for_receiver": sum(int(row["assets"]) for row in rows if "fees" in row),
               "created_at": min(row["time"] for row in deposits or rows if (row["block_number"], row["log_index"]) == at),
               "updated_at": rows[-1]["time"]}


def _vaults(deposited, redeemed, prices, positions):
    holders = defaultdict(int)
    for position in positions:
        holders[position["term_id"], position["curve_id"]] += position["shares"] > 0
    for key, rows in _grouped(deposited + redeemed + prices, "term_id", "curve_id").items():
        price = next((row for row in reversed(rows) if "share_price" in row), None)
        shares, share_price, assets = (int(price[c]) if price else 0 for c in ("total_shares", "share_price", "total_assets"))
        yield {"term_id": key[0], "curve_id": key[1], "vault_type": str(rows[-1]["vault_type"]), "total_shares": shares,
               "current_share_price": share_price, "total_assets": assets, "position_count": holders[key],
               "market_cap": (shares * share_price + WEI // 2) // WEI, "created_at": rows[0]["time"],
               "updated_at": (price or rows[0])["time"]}


def _terms(atoms, triples, vaults_of):
    atom_of = {row["term_id"]: row for row in atoms}
    triple_of = {id_: row for row in triples for id_ in (row["term_id"], row["counter_term_id"])}
    for id_ in {*atom_of, *triple_of, *vaults_of}:
        vaults = vaults_of.get(id_, [])
        parts = [*vaults, *(part[id_] for part in (atom_of, triple_of) if id_ in part)]
        yield {"id": id_, "type": "Atom" if id_ in atom_of else "Triple" if id_ in triple_of else "Unknown",
               "atom_id": id_ if id_ in atom_of else None, "triple_id": id_ if id_ in triple_of else None,
               "total_assets": sum(v["total_assets"] for v in vaults), "total_market_cap": sum(v["market_cap"] for v in vaults),
               "created_at": min(p["created_at"] for p in parts), "updated_at": max(p["updated_at"] for p in parts)}


def _triple_vaults(triples, vaults_of):
    for triple in triples:
        curves = _grouped_by_curve(vaults_of.get(triple["term_id"], []) + vaults_of.get(triple["counter_term_id"], []))
        for curve, vaults in curves.items():
            yield {"term_id": triple["term_id"], "counter_term_id": triple["counter_term_id"], "curve_id": curve,
                   **{c: sum(v[c] for v in vaults) for c in ("total_shares", "total_assets", "position_count", "market_cap")}}


def _grouped_by_curve(vaults):
    curves = defaultdict(list)
    for vault in vaults:
        curves[vault["curve_id"]].append(vault)
    return curves


def _triple_terms(triples, triple_vaults):
    groups = defaultdict(list)
    for row in triple_vaults:
        groups[row["term_id"]].append(row)
    for triple in triples:
        rows = groups[triple["term_id"]]
        yield {"term_id": triple["term_id"], "counter_term_id": triple["counter_term_id"],
               "total_assets": sum(r["total_assets"] for r in rows), "total_market_cap": sum(r["market_cap"] for r in rows),
               "total_position_count": sum(r["position_count"] for r in rows)}


def _pairs(triples, triple_terms, first, second):
    totals = {row["term_id"]: row for row in triple_terms}
    groups = defaultdict(list)
    for triple in triples:
        groups[triple[first], triple[second]].append(totals[triple["term_id"]])
    for (one, two), rows in groups.items():
        yield {first: one, second: two, "triple_count": len(rows),
               "total_position_count": sum(r["total_position_count"] for r in rows),
               "total_market_cap": sum(r["total_market_cap"] for r in rows)}


def compute(entries, stored_at=None, network=None, window=5000, verdicts=()):
    """-> Expected. stored_at: {(table, transaction hash, log index): microseconds}, the times of events without block_timestamp."""
    live, orphaned, faults, notices = sort_out(entries, network, window, verdicts)
    rows = {name: [] for name in TABLES}
    for (table, transaction, log_index), row in live.items():
        time = row["block_timestamp"]
        rows[table].append({**row, "time": (stored_at or {}).get((table, transaction, log_index), 0) if time is None else time})
    deposited, redeemed, prices = (rows[t] for t in ("deposited_events", "redeemed_events", "share_price_changed_events"))
    rows["atom"] = list(_atoms(rows["atom_created_events"]))
    rows["triple"] = list(_triples(rows["triple_created_events"]))
    rows["position"] = list(_positions(deposited, redeemed))
    rows["vault"] = list(_vaults(deposited, redeemed, prices, rows["position"]))
    vaults_of = defaultdict(list)
    for vault in rows["vault"]:
        vaults_of[vault["term_id"]].append(vault)
    rows["term"] = list(_terms(rows["atom"], rows["triple"], vaults_of))
    rows["triple_vault"] = list(_triple_vaults(rows["triple"], vaults_of))
    rows["triple_term"] = list(_triple_terms(rows["triple"], rows["triple_vault"]))
    rows["predicate_object"] = list(_pairs(rows["triple"], rows["triple_term"], "predicate_id", "object_id"))
    rows["subject_predicate"] = list(_pairs(rows["triple"], rows["triple_term"], "subject_id", "predicate_id"))
    tables = {}
    for name, table in TABLES.items():
        tables[name] = {tuple(row[k] for k in table.key): {c: row[c] for c in table.columns} for row in rows[name]}
    return Expected(tables, orphaned, faults, notices)


# ---------------------------------------------------------------- comparing with a database

@dataclass(frozen=True)
class Difference:
    table: str
    key: tuple
    column: str      # "row" where the whole row is missing or too many
    expected: object
    actual: object

    def __str__(self):
        return f"{self.table} {'/'.join(map(str, self.key))} {self.column}: expected {_shown(self.expected)}, is {_shown(self.actual)}"


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"


_READ = {
    "text": '"{0}"',
    "int": '"{0}"',
    "time": '(extract(epoch FROM "{0}") * 1000000)::numeric(40, 0)',
    "bytes": '"{0}"',
    "json": '"{0}"::text',
}


def _plain(kind, value):
    if value is None:
        return None
    if kind == "json":
        return json.loads(value, parse_int=Decimal, parse_float=Decimal)
    if kind == "time":
        return int(value)
    if kind == "bytes":
        return bytes(value)
    return value   # an int column may come as int or Decimal: both compare exactly with int; text in its place differs


def read_table(cursor, name):
    table = TABLES[name]
    columns = ", ".join(_READ[kind].format(column) for column, kind in table.columns.items())
    cursor.execute(f'SELECT {columns} FROM "{name}"')
    found = {}
    for values in cursor:
        row = {c: _plain(kind, v) for (c, kind), v in zip(table.columns.items(), values)}
        found[tuple(row[k] for k in table.key)] = row
    return found


def read_stored_at(cursor):
    times = {}
    for name in EVENT_TABLES:
        cursor.execute(f'SELECT transaction_hash, log_index, {_READ["time"].format("created_at")} FROM "{name}" WHERE block_timestamp IS NULL')
        times.update(((name, transaction, log_index), int(time)) for transaction, log_index, time in cursor)
    return times


def differences_of(name, expected, actual):
    for key in expected.keys() - actual.keys():
        yield Difference(name, key, "row", expected[key], "missing")
    for key in actual.keys() - expected.keys():
        yield Difference(name, key, "row", "no such row", actual[key])
    for key in expected.keys() & actual.keys():
        wanted, row = expected[key], actual[key]
        if wanted != row:
            for column in wanted:
                if wanted[column] != row[column]:
                    yield Difference(name, key, column, wanted[column], row[column])


def compare(connection, entries, network=None, window=5000, tables=TABLES, verdicts=()):
    """Every difference between the database and a computation from the entries, in one snapshot; sorted. [] is the law."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        expected = compute(entries, read_stored_at(cursor), network, window, verdicts)
        found = []
        for name in tables:
            found += differences_of(name, expected.tables[name], read_table(cursor, name))
    return sorted(found, key=lambda d: (list(TABLES).index(d.table), [str(k) for k in d.key], d.column))


def report(differences, most=30):
    lines = [str(one) for one in differences[:most]]
    if len(differences) > most:
        lines.append(f"… and {len(differences) - most} more")
    return f"{len(differences)} differences\n" + "\n".join(lines)


# ---------------------------------------------------------------- the contract's own answers

def truth_tables(truth):
    """A truth file -> {table: {key: {column: value}}}, only the columns that the contract can answer for."""
    return {
        "position": {(row["account"], row["termId"], row["curveId"]): {"shares": int(row["shares"])} for row in truth["shares"]},
        "vault": {(row["termId"], row["curveId"]): {"total_assets": int(row["totalAssets"]), "total_shares": int(row["totalShares"]),
                                                    "current_share_price": int(row["sharePrice"])} for row in truth["vaults"]},
        "atom": {(row["id"],): {"wallet_id": row["atomWallet"], "creator_id": row["creator"], "last_event_block": row["block_number"],
                                "last_event_log_index": row["log_index"], "created_at": row["block_timestamp"] * 1_000_000,
                                **dict(zip(("data", "raw_data"), _text_or_bytes(bytes.fromhex(row["data"][2:]))))}
                 for row in truth["atoms"]},
        "triple": {(row["id"],): {"subject_id": row["subject"], "predicate_id": row["predicate"], "object_id": row["object"],
                                  "creator_id": row["creator"], "counter_term_id": row["counter"],
                                  "last_event_block": row["block_number"]} for row in truth["triples"]},
    }


def truth_differences(truth, actual):
    """actual: {table: {key: row}}, from read_table or compute."""
    return [d for name, expected in truth_tables(truth).items() for d in differences_of(name, expected, actual[name])]


def compare_truth(connection, truth):
    with connection.transaction(), connection.cursor() as cursor:
        return truth_differences(truth, {name: read_table(cursor, name) for name in truth_tables(truth)})
