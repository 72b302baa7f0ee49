"""What PostgreSQL reads for a batch, a notice and verify, with many notices, verdicts and events in the tables: rows, not time."""
import json

import psycopg
import pytest

from test_plans import ROOT, nodes

STREAM = "s"
PRICE = """INSERT INTO share_price_changed_events (transaction_hash, log_index, address, block_hash, block_number, network, transaction_index,
                   stream, stream_ms, stream_seq, term_id, curve_id, share_price, total_assets, total_shares, vault_type)
           SELECT '0x' || lpad(to_hex(i), 64, '0'), 0, '0xa', '0x' || lpad(to_hex(i / 5), 64, '0'), i / 5, 'n', 0, 's', 1000000 + i / 5, i %% 5,
                   '0x' || lpad(to_hex(i %% 50), 64, '0'), '1', '1', '1', '1', 0 FROM generate_series(%s::bigint, %s::bigint) i"""


@pytest.fixture
def connection(pipeline):
    pipeline.migrate()
    with pipeline.connect() as connection:
        yield connection


def fill(connection, blocks):
    connection.execute("SET session_replication_role = replica")
    connection.execute(PRICE, (0, 5 * blocks - 1))
    connection.execute("SET session_replication_role = origin")
    connection.execute("ANALYZE share_price_changed_events")


def notices(connection, count, fork="g % 100", ms="10 + g"):
    connection.execute(f"INSERT INTO reorgs SELECT 's', {ms}, 0, 'n', {fork}, g, '{{}}', true FROM generate_series(1, {count}) g")
    connection.execute("ANALYZE reorgs")


def read(connection, table):
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT 1")
    return connection.execute("SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = %s", (table,)).fetchone()[0]


def guard(connection, first, count, ms):
    connection.execute("""SELECT event_guard(array_agg('s'::text), array_agg(b::bigint), array_agg('0x' || lpad(to_hex(b), 64, '0')),
                                             array_agg(%s::bigint), array_agg(0::bigint)) FROM generate_series(%s::int, %s::int) b""",
                       (ms, first, first + count - 1))


@pytest.mark.parametrize("seen", [False, True])
def test_a_batch_does_not_read_old_notices(connection, seen):
    """200 blocks behind 5,000 notices, all of which reach them."""
    fill(connection, 400)
    notices(connection, 5000)
    before = read(connection, "reorgs")
    guard(connection, 150 if seen else 1000, 200, 2000000)
    assert read(connection, "reorgs") - before < 200


@pytest.mark.parametrize("seen", [False, True])
def test_a_batch_behind_all_notices_is_not_judged(connection, seen):
    """Once a chain has had a reorg, that is nearly every batch. To judge it takes longer than to store it."""
    connection.execute("""CREATE OR REPLACE FUNCTION block_state(numbers BIGINT[], hashes TEXT[], streams TEXT[] DEFAULT NULL)
                          RETURNS TABLE (stream TEXT, block_number BIGINT, block_hash TEXT, live BOOLEAN) LANGUAGE plpgsql AS
                          $$ BEGIN RAISE 'a block is judged'; END $$""")
    fill(connection, 400)
    notices(connection, 10, fork="0", ms="999000 + g")
    guard(connection, 150 if seen else 1000, 200, 2000000)
    notices(connection, 1, fork="0", ms="1000200")
    for first in (150, 199):   # their first sightings are before the notice, and at it, in time
        with pytest.raises(psycopg.errors.RaiseException, match="a block is judged"):
            guard(connection, first, 1 if first == 199 else 200, 2000000)
    guard(connection, 201, 100, 2000000)


def test_an_old_batch_reads_the_notices_behind_it_once(connection):
    """What a replay brings: 200 blocks before 5,000 notices that do not reach them."""
    fill(connection, 400)
    notices(connection, 5000, fork="1000 + g", ms="3000000 + g")
    notices(connection, 1, fork="0", ms="1")
    before = read(connection, "reorgs")
    guard(connection, 100, 200, 1000300)
    assert read(connection, "reorgs") - before < 20000


def plan_of(connection, query, *without):
    for what in without:
        connection.execute(f"SET enable_{what} = off")
    plan = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0]
    for what in without:
        connection.execute(f"RESET enable_{what}")
    return list(nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))


def removed(plan):
    return max(node.get(what, 0) * node["Actual Loops"] for node in plan for what in ("Rows Removed by Join Filter", "Rows Removed by Filter"))


def looks_through_a_list(plan):
    """An index is asked again and again, each time for a whole list of blocks."""
    return [node for node in plan if "= ANY" in node.get("Index Cond", "") and node["Actual Loops"] > 100]


@pytest.mark.parametrize("what", ["verify", "verdict", "state"])
@pytest.mark.parametrize("verdicts, ahead", [(0, False), (1500, False), (1500, True)])
def test_events_behind_a_notice_are_not_compared_each_with_each(connection, what, verdicts, ahead):
    """ahead: each verdict has a moment and a position of its own, just behind the notice."""
    blocks = 2000
    fill(connection, blocks)
    notices(connection, 1, fork="0", ms="1")
    notices(connection, 1, fork="1000", ms="2000000")
    connection.execute("""INSERT INTO chain_block SELECT i, '0x' || lpad(to_hex(i), 64, '0'), true, 2000001 + i * %s FROM generate_series(1, %s) i""",
                       (int(ahead), verdicts))
    if ahead:
        connection.execute("INSERT INTO chain_position SELECT DISTINCT stream_ms, 's', 2000000, 1000000 FROM chain_block")
        notices(connection, 3000, fork="100000", ms="3000000 + g")
    query = {"verify": "SELECT count(*) FROM event_misplaced()",
             "verdict": "SELECT v.* FROM reorg_blocks() b CROSS JOIN LATERAL event_verdict(b.numbers, b.hashes) v",
             "state": "SELECT s.* FROM reorg_blocks() b CROSS JOIN LATERAL block_state(b.numbers, b.hashes) s"}[what]
    assert removed(plan_of(connection, query)) < 10 * 5 * blocks
    plan = plan_of(connection, query, "hashjoin", "mergejoin")   # with other statistics the planner takes loops
    assert removed(plan) < 10 * 5 * blocks and not looks_through_a_list(plan)
    alive = connection.execute("SELECT count(*) FROM reorg_blocks() b CROSS JOIN LATERAL block_state(b.numbers, b.hashes) s WHERE s.live").fetchone()[0]
    assert alive == 1000 + max(0, verdicts - 999)


@pytest.mark.parametrize("function", ["block_state", "event_verdict"])
def test_a_block_that_is_given_with_each_of_its_events_is_read_once(connection, function):
    fill(connection, 100)
    connection.execute("UPDATE share_price_changed_events SET block_number = 0, block_hash = '0x' || repeat('0', 64)")
    found, counts = [], []
    for times in (1, 500):
        before = read(connection, "share_price_changed_events")
        found.append(connection.execute(f"SELECT * FROM {function}(array_fill(0::bigint, ARRAY[%s]), array_fill('0x' || repeat('0', 64), ARRAY[%s]))",
                                        (times, times)).fetchall())
        counts.append(read(connection, "share_price_changed_events") - before)
    assert found[0] == found[1] and counts[1] <= counts[0]


def test_many_notices_between_sightings(connection):
    """A block that is seen behind each of 3,000 notices, or not behind the first ones: its state reads each notice a few times, not 3,000 times."""
    fill(connection, 1)
    notices(connection, 3000, fork="0", ms="1000000 + 10 * g")
    for first, alive in ((1, True), (2, True), (3, False)):   # the row's own sighting stands before the first notice
        connection.execute("TRUNCATE repeated_sightings")
        connection.execute("""INSERT INTO repeated_sightings SELECT 'share_price_changed_events', '0x' || lpad('0', 64, '0'), 0, '0x' || lpad('0', 64, '0'), 0, 's',
                              1000005 + 10 * g, 0 FROM generate_series(%s::int, 3000) g""", (first,))
        before = read(connection, "reorgs")
        assert connection.execute("SELECT live FROM block_state(ARRAY[0::bigint], ARRAY['0x' || lpad('0', 64, '0')])").fetchall() == [(alive,)]
        assert read(connection, "reorgs") - before < 30000


def test_the_gauge_of_conflicting_blocks_reads_as_much_however_many_events_there_are(connection):
    """Every replica asks every few seconds."""
    fill(connection, 10000)
    connection.execute("SET session_replication_role = replica")
    connection.execute("UPDATE share_price_changed_events SET block_hash = 'other' WHERE stream_ms = 1009999 AND stream_seq = 0")
    before = read(connection, "share_price_changed_events")
    text = (ROOT / "ingest/sql/12_conflicting_count.sql").read_text()
    assert connection.execute(text).fetchone() == (1,)
    assert read(connection, "share_price_changed_events") - before < 21000


@pytest.mark.parametrize("name", ["16_chain_source", "16_chain_begin", "16_chain_sample"])
def test_what_reconciling_asks_of_all_events_reads_a_few(connection, name):
    """The first and last ones by their index, in each table."""
    fill(connection, 10000)
    before = read(connection, "share_price_changed_events")
    connection.execute((ROOT / f"ingest/sql/{name}.sql").read_text().replace("$1", "9000"))
    assert read(connection, "share_price_changed_events") - before < 4000
