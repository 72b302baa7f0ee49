"""Chains from a seed: what a contract and its producer could ever send, the rare and the extreme included.

    chain = Chain(seed)                    chain.events = [(event name, event), …] in chain order
    messages(chain.events, per_entry=20)   as stream entries, of one kind and one block each

Every chain has hot vaults, positions that go to zero and come back, triples of triples and of counter triples, vaults of counter
triples, amounts up to 2^256-1 and market caps just around one half, terms whose vaults come long before their creation or that are
never created, ids created twice, many curves and vault types, atoms with any data, events of unknown names.
"""
import random
from dataclasses import dataclass

from feeds import Message
from keccak import counter_id

MOST = 2**256 - 1
NETWORK = "intuition-testnet"
STREAMS = {
    "AtomCreated": "chain_atom_created",
    "TripleCreated": "chain_triple_created",
    "Deposited": "chain_deposited",
    "Redeemed": "chain_redeemed",
    "SharePriceChanged": "chain_share_price_changed",
}
OTHER_STREAM = "chain_other"

ATOM_DATA = (
    b"hello", b"", b"{}", b'{"@context":"https://schema.org/","@type":"Thing","name":"caf\xc3\xa9"}', "🦄 emoji 👩‍👩‍👧‍👦".encode(),
    b"a\0b", b"\0", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"' ; DROP TABLE atom; --", b"\\x00 \\\\ \\N \t\r\n{,}\"",
    b"\xef\xbb\xbfbom", b"\xe2\x80\xae override", b"x" * 20000, b"\xf0\x9f\xa6", b"\x7f\x01\x1f", "𝒳\u0301\ufffe".encode(), b"null", b"NULL",
)
GENERIC = (
    ("ProtocolFeeAccrued", '{"epoch":"12","sender":"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266","amount":"3524987654321"}'),
    ("RoleGranted", '{"role":"00","nested":{"deep":[[[{"a":[1,2,{"b":null}]}]]],"flag":true},"":"empty name"}'),
    ("Ünïcode 🦄", '{"text":"\\u20ac \\ud83e\\udd84 \\"quoted\\" \\\\ \\/ \\b\\f\\n\\r\\t","ключ":"значение"}'),
    ("BigNumbers", '{"most":115792089237316195423570985008687907853269984665640564039457584007913129639935,'
                   '"exact":9007199254740993,'
                   '"long":1.10000000000000000000000000000000000000000001,"tiny":1e-30,"large":12.5e60,"minus":-0.5,"zero":-0}'),
    ("deposited", '{"termId":"not an id","assets":-1}'),                 # names are case-sensitive: this is none of ours
    ("'; DROP TABLE generic_events; --", '{"$1":"%s","a":"\\u007f","b":[],"c":{},"transaction":{"transaction_information":1}}'),
)


class Raw(str):
    """A value that is written to the payload as it stands: numbers of generic events keep their text."""


@dataclass
class _Term:
    id: str
    kind: str              # atom, triple
    birth: int             # the block that creates it; beyond the chain: never
    parts: tuple = ()      # of a triple
    data: bytes = b""


class Chain:
    def __init__(self, seed, blocks=50, per_block=30, null_timestamps=0.0, twins=False):
        """null_timestamps: share of blocks without a time. twins: some block numbers come with two hashes, both live."""
        self.rng = random.Random(seed)
        self.blocks, self.per_block = blocks, per_block
        self.first_block = self.rng.choice((0, 1, 4_000_000, 2**53 + 1, 2**63 - 1 - blocks))
        self.accounts = [self._digits(20) for _ in range(12)]
        self.curves = [1, 2, 3, 0, MOST]
        self.terms, self.balances, self.vaults, self.events = [], {}, [], []
        for block in range(blocks):
            for _ in range(2 if twins and self.rng.random() < 0.2 else 1):
                self._block(block, null_timestamps)

    # ---- values

    def _digits(self, size):
        return "".join(self.rng.choices("0123456789abcdef", k=2 * size))

    def _amount(self):
        r = self.rng
        return r.choice((lambda: 0, lambda: 1, lambda: MOST, lambda: MOST - 1, lambda: 2**255, lambda: 2**64, lambda: 10**18,
                         lambda: r.randrange(2**r.randrange(1, 257)), *[lambda: r.randrange(10**15, 10**21)] * 12))()

    def _priced(self):
        """-> total shares and share price; now and then their product lies around half a unit of market cap."""
        r = self.rng
        if r.random() < 0.3:
            return 10**17 * r.choice((5, 15, 25)) + r.choice((-1, 0, 1)), r.choice((1, 1, 10**18 + 1))
        return self._amount(), self._amount()

    # ---- terms

    def _new_term(self, block):
        r = self.rng
        birth = block if r.random() < 0.7 else block + r.choice((1, 10, self.blocks // 2, 10 * self.blocks))
        term = _Term("0x" + self._digits(32), "atom", birth, data=r.choice(ATOM_DATA))
        if len(self.terms) > 4 and r.random() < 0.45:
            term.kind, term.parts = "triple", (self._any_id(), self._any_id(predicate=True), self._any_id())
        self.terms.append(term)
        for _ in range(r.choice((1, 1, 2, 4))):
            self._new_vault(term)
        return term

    def _nest(self, block):
        """A triple that is another's subject, both created, should the chain have none by its last block."""
        made = {term.id: term for term in self.terms if term.kind == "triple" and term.birth <= block}
        if any(term.parts[0] in made for term in made.values()):
            return
        subject = self._any_id()
        for _ in range(2):
            self.terms.append(_Term("0x" + self._digits(32), "triple", block, parts=(subject, self._any_id(predicate=True), self._any_id())))
            subject = self.terms[-1].id

    def _any_id(self, predicate=False):
        """A part of a triple: mostly of a few, so that pairs are shared; triples and counter triples too."""
        term = self.rng.choice(self.terms[:3] if predicate or self.rng.random() < 0.4 else self.terms)
        return counter_id(term.id) if term.kind == "triple" and self.rng.random() < 0.3 else term.id

    def _new_vault(self, term):
        counter = term.kind == "triple" and self.rng.random() < 0.4
        kind = 2 if counter else 1 if term.kind == "triple" else 0
        vault = (counter_id(term.id) if counter else term.id, self.rng.choice(self.curves), kind)
        if vault not in self.vaults:
            self.vaults.append(vault)

    def _vault(self):
        hot = self.rng.random() < 0.5
        term, curve, kind = self.rng.choice(self.vaults[:3] if hot else self.vaults)
        return {"termId": term, "curveId": str(curve)}, self.rng.choice((3, 32767)) if self.rng.random() < 0.03 else kind

    # ---- events

    def _block(self, block, null_timestamps):
        r = self.rng
        seconds = r.choice((0, 2**40)) if r.random() < 0.05 else 1_700_000_000 + 12 * block
        about = {"chain_id": 13579, "network": NETWORK, "address": "0x" + "c6e7df5e" * 5, "block_hash": "0x" + self._digits(32),
                 "block_number": self.first_block + block, "block_timestamp": None if r.random() < null_timestamps else hex(seconds)}
        log_index, transaction = r.choice((0, 0, 2**31)), -1
        hash_ = None
        for name, event in self._events_of(block):
            if hash_ is None or r.random() < 0.3:
                transaction, hash_ = transaction + 1, "0x" + self._digits(32)
            log_index += r.choice((1, 1, 2))
            self.events.append((name, {**event, "transaction_information": {
                **about, "transaction_hash": hash_, "log_index": hex(log_index), "transaction_index": transaction}}))

    def _events_of(self, block):
        r = self.rng
        for _ in range(r.randrange(1, 2 * self.per_block)):
            roll = r.random()
            if roll < 0.12 or not self.vaults:
                self._new_term(block)
            elif roll < 0.5:
                yield self._deposit()
            elif roll < 0.7:
                yield self._redeem()
            elif roll < 0.93:
                yield self._price()
            elif roll < 0.96:
                yield self._generic()
        if block == self.blocks - 1:
            self._nest(block)
        for term in self.terms:
            if term.birth == block or (term.birth < block and r.random() < 0.003):
                yield self._creation(term)

    def _creation(self, term):
        creator = "0x" + self.rng.choice(self.accounts)
        if term.kind == "atom":
            return "AtomCreated", {"creator": creator, "termId": term.id[2:], "atomData": term.data.hex(), "atomWallet": "0x" + self._digits(20)}
        subject, predicate, object_ = (part[2:] for part in term.parts)
        return "TripleCreated", {"creator": creator, "termId": term.id[2:], "subjectId": subject, "predicateId": predicate, "objectId": object_}

    def _holder(self, vault):
        account = self.rng.choice(self.accounts)
        return account, (account, vault["termId"], vault["curveId"])

    def _deposit(self):
        vault, kind = self._vault()
        account, key = self._holder(vault)
        shares = self._amount()
        total = self.balances[key] = min(MOST, self.balances.get(key, 0) + shares)
        assets = self._amount()
        return "Deposited", {"sender": "0x" + self.rng.choice(self.accounts), "receiver": "0x" + account, **vault, "assets": str(assets),
                             "assetsAfterFees": str(assets - assets // 100), "shares": str(shares), "totalShares": str(total), "vaultType": kind}

    def _redeem(self):
        vault, kind = self._vault()
        account, key = self._holder(vault)
        held = self.balances.get(key, 0)
        shares = held if self.rng.random() < 0.6 else self.rng.randint(0, held)
        self.balances[key] = held - shares
        return "Redeemed", {"sender": "0x" + account, "receiver": "0x" + account, **vault, "shares": str(shares),
                            "totalShares": str(held - shares), "assets": str(self._amount()), "fees": str(self._amount()), "vaultType": kind}

    def _price(self):
        vault, kind = self._vault()
        shares, price = self._priced()
        return "SharePriceChanged", {**vault, "sharePrice": str(price), "totalAssets": str(self._amount()), "totalShares": str(shares),
                                     "vaultType": kind}

    def _generic(self):
        name, members = self.rng.choice(GENERIC)
        return name, {"#": Raw(members)}


def _payload(name, events):
    """The JSON of an entry, the members of generic events word for word."""
    from json import dumps

    def one(event):
        if "#" not in event:
            return dumps(event, ensure_ascii=False)
        return event["#"][:-1] + ',"transaction_information":' + dumps(event["transaction_information"]) + "}"
    return f'{{"event_name":{dumps(name)},"event_data":[{",".join(map(one, events))}],"network":"{NETWORK}"}}'


def messages(events, per_entry=20, stream=None):
    """Entries of one kind and one block with up to `per_entry` events, in chain order; all in `stream`, or each kind in its own."""
    entries, open_ = [], {}
    for name, event in events:
        key = (name, event["transaction_information"]["block_hash"])
        if key not in open_ or len(open_[key]) == per_entry:
            open_[key] = []
            entries.append((name, open_[key]))
        open_[key].append(event)
    return [Message(stream or STREAMS.get(name, OTHER_STREAM), name, tuple(group), raw=_payload(name, group)) for name, group in entries]
