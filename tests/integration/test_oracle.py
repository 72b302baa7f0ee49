"""The oracle itself, before anything is judged by it: against the contract's answers, and on what a feed's variants mean."""
import random

import pytest

import chain
import feeds
import oracle
from keccak import checksum_address, counter_id, keccak256


def test_keccak_vectors():
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc").hex() == "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    assert checksum_address("fb6916095ca1df60bb79ce92ce3ea74c37c5d359") == "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"


def test_agrees_with_the_contract(recording):
    truth = feeds.load_truth("recording.truth.json.xz")
    expected = oracle.compute(feeds.as_entries(recording))
    assert (len(truth["shares"]), len(truth["vaults"])) == (3170, 1990)
    assert not expected.faults and not expected.orphaned
    assert oracle.truth_differences(truth, expected.tables) == []
    assert {triple["counter"] for triple in truth["triples"]} == {counter_id(triple["id"]) for triple in truth["triples"]}


def test_live_events_of_the_reorg_recording():
    expected = oracle.compute(feeds.as_entries(feeds.load("reorg.jsonl.xz")))
    live = [key for name in oracle.EVENT_TABLES for key in expected.tables[name]]
    assert len(live) == len(set(live)) == 1336 and len(expected.notices) == 50
    truth = feeds.load_truth("reorg.truth.json.xz")
    created = {(atom["transaction_hash"], atom["log_index"]) for atom in truth["atoms"]}
    assert expected.tables["atom_created_events"].keys() <= created


@pytest.mark.parametrize("variant", [
    lambda m, s: feeds.shuffled(m, s), lambda m, s: feeds.doubled(m, s), lambda m, s: feeds.single_stream(m), lambda m, s: feeds.numbers(m, s),
    lambda m, s: feeds.casing(m, s), lambda m, s: feeds.regrouped(m, s, 1), lambda m, s: feeds.regrouped(m, s, 100), lambda m, s: feeds.one_object(m),
])
def test_variants_mean_the_same(part, seed, variant):
    plain, varied = (oracle.compute(feeds.as_entries(m)) for m in (part, variant(part, seed)))
    assert not varied.faults and varied.tables == plain.tables


def test_chains_are_valid_and_have_what_they_promise(seed):
    for number in range(seed, seed + 5):
        events = chain.Chain(number).events
        messages = chain.messages(events)
        expected = oracle.compute(feeds.as_entries(messages))
        assert not expected.faults and not expected.orphaned, number
        tables = expected.tables
        assert sum(len(tables[name]) for name in oracle.EVENT_TABLES) == len(events)
        assert {row["type"] for row in tables["term"].values()} >= {"Atom", "Triple"}
        assert any(row["subject_id"] in {key[0] for key in tables["triple"]} for row in tables["triple"].values())
        mixed = random.Random(number).sample(messages, len(messages))
        assert oracle.compute(feeds.as_entries(mixed)).tables == tables, number
