"""Events for the benchmark, as many as asked for, the same for the same seed.

They come in the shares of the recording in tests/data (64.5 % prices, 21.6 % deposits, 8.6 % redemptions, 4.2 % atoms, 1.1 % triples)
and in its shapes: a triple's creation prices five vaults and deposits into one, its predicate is one of a few hot atoms, a deposit into
a triple mostly prices the vaults of its parts, too. A block is full with ten events. A few vaults are hot, older ones are named more often
than newer ones, so that as many different vaults are named as there: 2,000 events in a row name 494 to 1,009 in the recording, 375 to 769
here; 8,000 name 1,548 and 1,638 there, 1,381 to 2,552 here.

The mix "many" has the same shares, but most events are each about another vault, as on a young chain or in an airdrop: 2,000 events in a row
name some 1,900 keys.

    Chain(seed).mixed()                  events without end: Event(kind, block, json)
    Chain(seed, mix="many").mixed()      the same of many keys
    packed(events, per_message)          as stream entries (stream, payload) of one kind each, of as many events, of any blocks
    notices(fork, count)                 reorg notices, so many a stream
    blocks(events)                       as lists of entries, one list a block, one entry a kind in it: what a live chain looks like
"""
import itertools
import random
from collections import namedtuple

from keccak import counter_id

KINDS = ("AtomCreated", "TripleCreated", "Deposited", "Redeemed", "SharePriceChanged")
NETWORK = "intuition-testnet"
STREAMS = dict(zip(KINDS, (f"bench_{name}" for name in ("atom_created", "triple_created", "deposited", "redeemed", "share_price_changed"))))
PER_BLOCK = 10
FIRST_BLOCK, FIRST_SECOND, APART = 4_000_000, 1_790_000_000, 10_000_000
ACCOUNTS, HOT_VAULTS, PREDICATES = 2000, 10, 10
HOT_SHARE, VAULT_AGE, HOLDING_AGE = 0.4, 5, 4   # how often a hot vault; powers that make old vaults, old holdings come more often
# Chances of what happens next. A deposit into a triple prices its parts' vaults with PARTS: that gives the shares above.
OPERATIONS = {"atom": 4.2, "triple": 1.1, "deposit": 16.3, "redemption": 8.6}
PARTS = 0.61
MIXES = ("hot", "many")
SPREAD = 20_000   # terms that the mix of many keys begins with

Event = namedtuple("Event", "kind block json")
Term = namedtuple("Term", "id kind parts")   # kind as in vaultType: 0 atom, 1 triple, 2 counter triple


class Chain:
    def __init__(self, seed, number=0, mix="hot"):
        """`number` keeps the chains of one run apart: other random choices, other blocks."""
        self.rng = random.Random(f"{seed}/{number}")
        self.spread = mix == "many"
        self.block, self.log_index = FIRST_BLOCK + number * APART - 1, PER_BLOCK
        self.accounts = ["0x" + self.digits(20) for _ in range(ACCOUNTS)]
        self.atoms, self.deposit_targets, self.balances, self.held = [], [], {}, []
        if self.spread:
            self.deposit_targets = [(self.new_term(0), 1) for _ in range(SPREAD)]

    def digits(self, size):
        return f"{self.rng.getrandbits(8 * size):0{2 * size}x}"

    def amount(self):
        return self.rng.randrange(10**18, 10**self.rng.randrange(19, 23))

    # ---- where an event stands

    def transaction(self):
        """Begins one, in a new block where the last one is full."""
        if self.log_index >= PER_BLOCK:
            self.block, self.block_hash = self.block + 1, "0x" + self.digits(32)
            self.log_index, self.transaction_index = 0, -1
        self.transaction_hash = "0x" + self.digits(32)
        self.transaction_index += 1

    def event(self, kind, members):
        """An event of the current transaction. members: its fields but transaction_information, as JSON without braces."""
        self.log_index += 1
        return Event(kind, self.block, (
            f'{{{members},"transaction_information":{{"address":"0xc6e7df5e7b4f2a278906862b61205850344d4e7d","block_hash":"{self.block_hash}",'
            f'"block_number":{self.block},"block_timestamp":"{FIRST_SECOND + 2 * (self.block - FIRST_BLOCK):#x}","chain_id":13579,'
            f'"log_index":"{self.log_index:#x}","network":"{NETWORK}","transaction_hash":"{self.transaction_hash}",'
            f'"transaction_index":{self.transaction_index}}}}}'))

    # ---- the five kinds

    def atom_created(self, term):
        data = f"https://example.org/{term.id[:12]}".encode().hex()
        return self.event("AtomCreated", (
            f'"atomData":"{data}","atomWallet":"0x{self.digits(20)}","creator":"{self.account()}","termId":"{term.id}"'))

    def triple_created(self, term):
        subject, predicate, object_ = (part.id for part in term.parts)
        return self.event("TripleCreated", (
            f'"creator":"{self.account()}","objectId":"{object_}","predicateId":"{predicate}","subjectId":"{subject}","termId":"{term.id}"'))

    def deposited(self, account, term, curve):
        shares = self.amount()
        key = (account, term.id, curve)
        if key not in self.balances:
            self.held.append((account, term, curve))
        self.balances[key] = total = self.balances.get(key, 0) + shares
        return self.event("Deposited", (
            f'"assets":"{shares + shares // 40}","assetsAfterFees":"{shares}","curveId":"{curve}","receiver":"{account}",'
            f'"sender":"{account}","shares":"{shares}","termId":"{term.id}","totalShares":"{total}","vaultType":{term.kind}'))

    def redeemed(self, account, term, curve):
        key = (account, term.id, curve)
        held = self.balances[key]
        shares = held if self.rng.random() < 0.5 else held // 3
        self.balances[key] = held - shares
        return self.event("Redeemed", (
            f'"assets":"{shares - shares // 80}","curveId":"{curve}","fees":"{shares // 80}","receiver":"{account}",'
            f'"sender":"{account}","shares":"{shares}","termId":"{term.id}","totalShares":"{held - shares}","vaultType":{term.kind}'))

    def priced(self, term, curve):
        if self.spread:
            term, curve = self.vault()
        return self.event("SharePriceChanged", (
            f'"curveId":"{curve}","sharePrice":"{self.amount()}","termId":"{term.id}","totalAssets":"{self.amount()}",'
            f'"totalShares":"{self.amount()}","vaultType":{term.kind}'))

    # ---- who and what

    def account(self):
        """Some accounts are busy, most are not."""
        return self.accounts[int(ACCOUNTS * self.rng.random() ** 3)]

    def new_term(self, kind, parts=()):
        return Term(self.digits(32), kind, parts)

    def new_triple(self):
        return self.new_term(1, (self.rng.choice(self.atoms), self.rng.choice(self.atoms[:PREDICATES]), self.rng.choice(self.atoms)))

    def counter_of(self, triple):
        return Term(counter_id("0x" + triple.id)[2:], 2, triple.parts)

    def vault(self):
        if self.spread:
            return self.rng.choice(self.deposit_targets)
        if self.rng.random() < HOT_SHARE:
            return self.rng.choice(self.deposit_targets[:HOT_VAULTS])
        return self.older(self.deposit_targets, VAULT_AGE)

    def older(self, things, power):
        if self.spread:
            return self.rng.choice(things)
        return things[int(len(things) * self.rng.random() ** power)]

    # ---- what happens

    def atom(self):
        term = self.new_term(0)
        self.atoms.append(term)
        self.deposit_targets += [(term, 1)] if self.rng.random() < 0.7 else [(term, 1), (term, 2)]
        yield self.priced(term, 1)
        yield self.atom_created(term)
        yield self.deposited(self.account(), term, 1)

    def triple(self):
        term = self.new_triple()
        counter = self.counter_of(term)
        self.deposit_targets += [(term, 1), (counter, 1)]
        for one in (term, *term.parts, counter):
            yield self.priced(one, 1)
        yield self.triple_created(term)
        yield self.deposited(self.account(), term, 1)

    def deposit(self):
        term, curve = self.vault()
        yield self.priced(term, curve)
        if self.rng.random() < PARTS:   # an atom has no parts: other vaults stand in for them
            parts = term.parts or [self.vault()[0] for _ in range(3)]
            for part in parts:
                yield self.priced(part, 1)
        yield self.deposited(self.account(), term, curve)

    def redemption(self):
        account, term, curve = self.older(self.held, HOLDING_AGE)
        yield self.priced(term, curve)
        yield self.redeemed(account, term, curve)

    def mixed(self):
        for _ in range(PREDICATES):
            self.transaction()
            yield from self.atom()
        operations = [getattr(self, name) for name in OPERATIONS]
        weights = list(itertools.accumulate(OPERATIONS.values()))
        while True:
            self.transaction()
            yield from self.rng.choices(operations, cum_weights=weights)[0]()


# ---- as stream entries

def entry(kind, events):
    """One stream entry, as the producer writes it."""
    block = events[0].block
    return STREAMS[kind], (
        f'{{"block_number":{block},"event_data":[{",".join(event.json for event in events)}],"event_name":"{kind}",'
        f'"message_id":"rindexer_stream__-multivault-{kind.lower()}-{NETWORK}-blk{block}-chunk-0","network":"{NETWORK}"}}').encode()


def packed(events, per_message):
    open_ = {kind: [] for kind in KINDS}
    for event in events:
        group = open_[event.kind]
        group.append(event)
        if len(group) == per_message:
            yield entry(event.kind, group)
            group.clear()
    for kind, group in open_.items():
        if group:
            yield entry(kind, group)


def notices(fork, count=1):
    """Reorg notices from this block on, for each stream as many as count; no two of a stream are alike, so each counts."""
    for depth in range(1, count + 1):
        for stream in STREAMS.values():
            yield stream, (f'{{"block_number":0,"event_data":[{{"type":"reorg","network":"{NETWORK}","fork_block":{fork},"depth":{depth},"events_deleted":0,'
                           f'"affected_tx_hashes":[],"affected_events":[]}}],"event_name":"__rindexer_reorg","network":"{NETWORK}"}}').encode()


def blocks(events):
    for _, group in itertools.groupby(events, key=lambda event: event.block):
        group = list(group)
        yield [entry(kind, [event for event in group if event.kind == kind]) for kind in KINDS if any(event.kind == kind for event in group)]
