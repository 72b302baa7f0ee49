"""event_guard says of any batch what it says without its short cut, whatever was seen of the blocks before."""
import random
import re

import psycopg
import pytest

PRICE = """INSERT INTO share_price_changed_events (transaction_hash, log_index, address, block_hash, block_number, network, transaction_index,
                   stream, stream_ms, stream_seq, term_id, curve_id, share_price, total_assets, total_shares, vault_type)
           VALUES (%s, 0, '0xa', %s, %s, 'n', 0, %s, %s, %s, '0x00', '1', '1', '1', '1', 0)"""
ORPHAN = """INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, stream, stream_ms, stream_seq,
                    event_row, reason)
            VALUES ('share_price_changed_events', %s, 0, %s, %s, %s, %s, %s, '{}', %s)"""
AGAIN = "INSERT INTO repeated_sightings VALUES ('share_price_changed_events', %s, 0, %s, %s, %s, %s, %s)"
NOTICE = """INSERT INTO reorgs (stream, stream_ms, stream_seq, network, fork_block, depth, notice, counts)
            VALUES (%s, %s, %s, 'n', %s, %s, '{}', %s) ON CONFLICT DO NOTHING"""


@pytest.fixture
def connection(pipeline):
    """With event_guard_whole, which takes no short cut."""
    with pipeline.migrate().connect() as connection:
        whole = connection.execute("SELECT pg_get_functiondef('event_guard'::regproc)").fetchone()[0]
        whole, cut = re.subn(r"-- Nearly all batches.*?(?=IF EXISTS \(SELECT FROM \(SELECT u\.b, min)", "", whole, flags=re.DOTALL)
        assert cut == 1
        connection.execute(whole.replace("event_guard(", "event_guard_whole(", 1))
        connection.execute("SET session_replication_role = replica")
        yield connection


def block(rng, blocks):
    return f"0x{rng.randint(1, 2)}", rng.randint(1, blocks)


def fill(connection, rng, blocks, last):
    def place():
        return rng.choice("ab"), rng.randint(1, last), rng.randint(0, 1)
    for i in range(rng.randint(0, 5)):
        kind, *more = rng.choice([(PRICE,), (PRICE,), (PRICE,), (ORPHAN, "reorg"), (ORPHAN, "not in stream"), (AGAIN,)])
        connection.execute(kind, (f"0x{i}", *block(rng, blocks), *place(), *more))
    for depth in range(rng.choice([0, 1, 1, 2, 4])):
        connection.execute(NOTICE, (*place(), rng.randint(1, blocks + 1), depth, rng.random() < 0.85))
    for i in range(rng.choice([0, 1, 2, 3])):
        (hash_, number), moment, live = block(rng, blocks), rng.randint(1, last), rng.random() < 0.7
        if not connection.execute("INSERT INTO chain_block VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
                                  (number, hash_, live, moment)).fetchone():
            continue
        if live and rng.random() < 0.6:
            connection.execute(PRICE, (f"0xc{i}", hash_, number, "chain", moment, 0))
        for stream in "ab":
            if rng.random() < 0.3:
                connection.execute("INSERT INTO chain_position VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                                   (moment, stream, moment + rng.randint(0, 6), rng.randint(0, 1)))


def answer(connection, guard, batch):
    try:
        with connection.transaction():
            connection.execute(f"SELECT {guard}(%s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])", batch)
        return "plain"
    except psycopg.Error as error:
        return str(error).split("\n")[0]


def test_the_short_cut_changes_no_answer(connection, seed):
    rng = random.Random(seed)
    answers = set()
    for _ in range(100):
        with connection.transaction(force_rollback=True):
            blocks, last = rng.randint(1, 4), rng.choice([6, 15, 40])
            fill(connection, rng, blocks, last)
            for first in (1, last // 2, last, last + 1, last + 3, last + 3):   # mostly behind all notices, where the short cut is
                events = [(rng.choice("ab"), *block(rng, blocks), first + rng.randint(0, 4), rng.randint(0, 1)) for _ in range(rng.randint(1, 4))]
                streams, hashes, numbers, ms, seq = map(list, zip(*events))
                batch = (streams, numbers, hashes, ms, seq)
                said = answer(connection, "event_guard", batch)
                assert said == answer(connection, "event_guard_whole", batch), batch
                answers.add(said)
    assert len(answers) == 3, answers   # plain, a state may change, the chain has ruled


def test_a_verdict_counts_as_a_sighting(connection):
    """On the chain, then a notice, then seen again: a straggler, which the next sighting may bring back."""
    connection.execute("INSERT INTO chain_block VALUES (3, '0x1', true, 1)")
    connection.execute(NOTICE, ("a", 2, 0, 1, 1, True))
    connection.execute(PRICE, ("0x0", "0x1", 3, "a", 8, 0))
    for guard in ("event_guard", "event_guard_whole"):
        assert answer(connection, guard, (["a"], [3], ["0x1"], [14], [0])) == "a block's state may change"
        assert answer(connection, guard, (["a"], [3], ["0x2"], [14], [0])) == "plain"
