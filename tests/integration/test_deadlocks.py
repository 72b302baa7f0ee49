"""Four replicas with four workers each on ten hot vaults and ten hot pairs: nobody deadlocks, and the result is exact."""
import random

import chain
import feeds

STREAMS = {"AtomCreated": "atoms", "TripleCreated": "triples", "Deposited": "deposits", "Redeemed": "redemptions", "SharePriceChanged": "prices"}


def hot_feed(rng, events):
    """Deposits, redemptions and prices of ten terms, whose triples share ten pairs."""
    digits = lambda size: "0x" + "".join(rng.choices("0123456789abcdef", k=2 * size))
    atoms = [digits(32) for _ in range(3)]
    triples = [(digits(32), rng.choice(atoms), atoms[0], rng.choice(atoms)) for _ in range(10)]
    accounts = [digits(20) for _ in range(8)]
    out, hash_, transaction = [], digits(32), digits(32)
    for at in range(events):
        if at % 7 == 0:
            hash_, transaction = digits(32), digits(32)
        term, subject, predicate, object_ = rng.choice(triples)
        amounts = {name: str(rng.randrange(10**18, 10**21)) for name in ("assets", "assetsAfterFees", "shares", "fees", "totalAssets", "sharePrice")}
        amounts["totalShares"] = rng.choice(["0", str(rng.randrange(10**18, 10**21))])
        vault = {"termId": term, "curveId": "1", "vaultType": 1}
        parties = {"sender": rng.choice(accounts), "receiver": rng.choice(accounts)}
        name, fields = rng.choices([
            ("Deposited", {**vault, **parties}), ("Redeemed", {**vault, **parties}), ("SharePriceChanged", vault),
            ("TripleCreated", {"creator": accounts[0], "termId": term, "subjectId": subject, "predicateId": predicate, "objectId": object_})],
            weights=[4, 2, 6, 1])[0]
        own = [] if name == "TripleCreated" else {"Deposited": ["assets", "assetsAfterFees", "shares", "totalShares"],
                                                  "Redeemed": ["assets", "fees", "shares", "totalShares"],
                                                  "SharePriceChanged": ["sharePrice", "totalAssets", "totalShares"]}[name]
        about = {"address": accounts[0], "block_hash": hash_, "block_number": 1000 + at // 7, "block_timestamp": 1_700_000_000 + at // 7,
                 "chain_id": 1, "log_index": at % 7, "network": chain.NETWORK, "transaction_hash": transaction, "transaction_index": 0}
        out.append(feeds.Message(STREAMS[name], name, ({**fields, **{k: amounts[k] for k in own}, "transaction_information": about},)))
    return out


def test_sixteen_workers_a_stage_on_hot_keys(make_pipeline, seed):
    rng = random.Random(f"deadlocks-{seed}")
    messages = hot_feed(rng, 6000)
    rng.shuffle(messages)
    pipeline = make_pipeline(BATCH_SIZE=20, BATCH_MAX_EVENTS=100, WORKERS=4).migrate().listen_to(messages)
    pipeline.feed(messages)
    for _ in range(4):
        pipeline.start()
    pipeline.drain().assert_exact()   # of which one condition is: no deadlocks
    pipeline.assert_verified()
