"""deploy/queries: each example runs in psql as it stands, is right, and finds its rows by an index however large the tables are."""
import hashlib
import json
import re
import subprocess
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "queries"
QUERIES = sorted(path.name for path in FOLDER.glob("*.sql"))
LARGE = 3000   # rows; what has fewer may be read as a whole

# As many rows again as a real installation has; the triggers stay out of it.
FILL = """
SET session_replication_role = replica;
INSERT INTO atom SELECT '0x' || md5('a' || i) || md5('b' || i), 'w', 'c', 'atom ' || i, NULL, NULL, NULL, NULL, NULL, NULL, 'Pending', i, 0, 't', i, 0, now(), now()
FROM generate_series(1, 30000) i;
INSERT INTO triple SELECT '0x' || md5('t' || i) || md5('u' || i), 'c', '0x' || md5('a' || i) || md5('b' || i), '0x' || md5('a' || i % 50) || md5('b' || i % 50),
        '0x' || md5('a' || i % 900) || md5('b' || i % 900), '0x' || md5('v' || i) || md5('w' || i), i, 0, 't', i, 0, now(), now() FROM generate_series(1, 30000) i;
INSERT INTO triple_term (term_id, counter_term_id, total_assets, total_market_cap, total_position_count)
SELECT term_id, counter_term_id, last_event_block, last_event_block * 7, 1 FROM triple WHERE creator_id = 'c';
INSERT INTO term (id, type) SELECT term_id, 'Atom' FROM atom WHERE creator_id = 'c';
INSERT INTO vault (term_id, curve_id, vault_type, first_event_block, created_at, updated_at) SELECT term_id, '1', '0', 1, now(), now() FROM atom WHERE creator_id = 'c';
INSERT INTO position (account_id, term_id, curve_id, shares, last_event_block, last_event_log_index, last_event_transaction, first_is_deposit, first_event_block,
        first_event_log_index, count_delta, created_at, updated_at)
SELECT '0x' || md5('p' || i % 5000), term_id, '1', i, i, 0, 't', true, i, 0, 1, now(), now()
FROM (SELECT term_id, row_number() OVER () AS i FROM atom WHERE creator_id = 'c') a;
INSERT INTO share_price_changed_events SELECT md5('s' || i), 0, 'x', 'h', 10 + i, 'n', 0, now(), 's', i, 0, now(), '0x' || md5('a' || i) || md5('b' || i), '1', '1', '1', '1', 0
FROM generate_series(1, 30000) i;
INSERT INTO deposited_events SELECT md5('d' || i), 0, 'x', 'h', 10 + i, 'n', 0, now(), 's', i, 0, now(), 's' || i % 5000, 'r' || i % 5000,
        '0x' || md5('a' || i) || md5('b' || i), '1', '1', '1', '1', '1', 0 FROM generate_series(1, 30000) i;
INSERT INTO redeemed_events SELECT md5('e' || i), 0, 'x', 'h', 10 + i, 'n', 0, now(), 's', i, 0, now(), 's' || i % 5000, 'r' || i % 5000,
        '0x' || md5('a' || i) || md5('b' || i), '1', '1', '1', '1', '1', 0 FROM generate_series(1, 30000) i;
INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row, stream, stream_ms, stream_seq, reason)
SELECT 'deposited_events', md5('o' || i), 0, 'h', i, '{}', 's', i, 0, 'reorg' FROM generate_series(1, 30000) i;
ANALYZE;
"""


@pytest.fixture(scope="module")
def filled(redis_server, postgres_server, recording, tmp_path_factory):
    """The recording's tables -> (pipeline, parameters of the queries, what they return before the tables are filled up)"""
    from programs import Pipeline, close_all
    pipeline = Pipeline(redis_server, postgres_server, tmp_path_factory.mktemp("queries"))
    pipeline.create_database().listen_to(recording)
    try:
        pipeline.start()
        pipeline.feed(recording)
        pipeline.drain()
        pipeline.stop()
        with pipeline.connect() as connection:
            account, term, curve = connection.execute("SELECT account_id, term_id, curve_id FROM position WHERE shares > 0 ORDER BY shares DESC LIMIT 1").fetchone()
            subject = connection.execute("SELECT subject_id FROM triple GROUP BY 1 ORDER BY count(*) DESC LIMIT 1").fetchone()[0]
            block = connection.execute("SELECT max(block_number) - 5 FROM share_price_changed_events").fetchone()[0]
            since, until = connection.execute("""SELECT min(block_timestamp) + (max(block_timestamp) - min(block_timestamp)) / 4,
                max(block_timestamp) - (max(block_timestamp) - min(block_timestamp)) / 4 FROM share_price_changed_events""").fetchone()
            parameters = {"account": account, "term": term, "curve": curve, "subject": subject, "block": str(block),
                          "since": since.isoformat(), "until": until.isoformat()}
            before = {name: run(pipeline, name, parameters) for name in QUERIES}
            expected = by_hand(connection, parameters)
            connection.execute(FILL)
            connection.execute("VACUUM share_price_changed_events")   # as autovacuum does: BRIN knows what is summarised
        yield pipeline, parameters, before, expected
    finally:
        close_all([pipeline])


def psql(pipeline, text, parameters):
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-A", "-F", "\t", "-P", "footer=off",
                           *(part for name, value in parameters.items() for part in ("-v", f"{name}={value}")),
                           pipeline.postgres_server.url(pipeline.database)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(pipeline, name, parameters):
    lines = psql(pipeline, (FOLDER / name).read_text(), parameters).splitlines()
    heads = lines[0].split("\t")
    return [dict(zip(heads, line.split("\t"))) for line in lines[1:]]


def by_hand(connection, parameters):
    """The answers a second time, in Python, from whole tables."""
    def table(name):
        cursor = connection.execute(f"SELECT * FROM {name}")
        return [dict(zip([column.name for column in cursor.description], row)) for row in cursor.fetchall()]
    vaults = {(v["term_id"], v["curve_id"]): v for v in table("vault")}
    held = [p for p in table("position") if p["shares"] > 0]
    value = {(p["term_id"], p["curve_id"]): p["shares"] * vaults[p["term_id"], p["curve_id"]]["current_share_price"] // 10**18
             for p in held if p["account_id"] == parameters["account"]}
    caps = sorted((t["total_market_cap"] for t in table("triple_term")), reverse=True)[:10]
    prices = [e for e in table("share_price_changed_events") if (e["term_id"], e["curve_id"]) == (parameters["term"], parameters["curve"])]
    flows = [e for name in ("deposited_events", "redeemed_events") for e in table(name)]
    return {
        "portfolio.sql": value, "top_triples.sql": caps,
        "holders.sql": sorted((p["shares"] for p in held if (p["term_id"], p["curve_id"]) == (parameters["term"], parameters["curve"])), reverse=True)[:10],
        "price_history.sql": [Decimal(e["share_price"]) for e in sorted(prices, key=lambda e: (e["block_number"], e["log_index"]), reverse=True)[:100]],
        "account_history.sql": sorted((e["block_number"], e["log_index"]) for e in flows if e["receiver"] == parameters["account"]),
        "recent_activity.sql": sorted(((e["block_number"], e["log_index"]) for e in flows), reverse=True)[:20],
        "triples_about.sql": {t["term_id"] for t in table("triple") if t["subject_id"] == parameters["subject"]},
        "prices_between.sql": [(e["block_number"], e["log_index"]) for e in sorted(
            table("share_price_changed_events"), key=lambda e: (e["block_number"], e["log_index"]))
            if datetime.fromisoformat(parameters["since"]) <= e["block_timestamp"] < datetime.fromisoformat(parameters["until"])],
        "changed_since.sql": {(e["term_id"], e["curve_id"]) for e in table("share_price_changed_events") if e["block_number"] >= int(parameters["block"])},
    }


def test_the_answers_are_right(filled):
    _, _, found, expected = filled
    key = lambda row: (int(row["block_number"]), int(row["log_index"]))
    assert {(row["term_id"], row["curve_id"]): Decimal(row["value"]) for row in found["portfolio.sql"]} == expected["portfolio.sql"]
    assert [Decimal(row["total_market_cap"]) for row in found["top_triples.sql"]] == expected["top_triples.sql"]
    assert [Decimal(row["shares"]) for row in found["holders.sql"]] == expected["holders.sql"]
    assert [Decimal(row["share_price"]) for row in found["price_history.sql"]] == expected["price_history.sql"]
    assert [key(row) for row in found["account_history.sql"]] == expected["account_history.sql"]
    assert {row["term_id"] for row in found["triples_about.sql"]} == expected["triples_about.sql"]
    assert {(row["term_id"], row["curve_id"]) for row in found["changed_since.sql"]} == expected["changed_since.sql"]
    assert [key(row) for row in found["prices_between.sql"]] == expected["prices_between.sql"]
    assert [key(row) for row in found["recent_activity.sql"]] == expected["recent_activity.sql"]
    assert all(expected.values()) and found["orphaned.sql"] == []


def test_orphaned_events_are_listed(filled):
    pipeline, parameters, _, _ = filled
    found = run(pipeline, "orphaned.sql", {**parameters, "block": "29998"})
    assert [(row["block_number"], row["source_table"], row["reason"], row["log_index"]) for row in found] == [
        (str(block), "deposited_events", "reorg", "0") for block in (29998, 29999, 30000)]
    assert [row["transaction_hash"] for row in found] == [hashlib.md5(f"o{block}".encode()).hexdigest() for block in (29998, 29999, 30000)]


def test_the_portfolio_shows_what_cascade_has_not_reached(filled):
    pipeline, parameters, _, expected = filled
    out = psql(pipeline, "BEGIN;\nDELETE FROM term WHERE id = :'term';\n" + (FOLDER / "portfolio.sql").read_text() + "ROLLBACK;\n", parameters)
    lines = [line.split("\t") for line in out.splitlines()]
    rows = [dict(zip(lines[0], line)) for line in lines[1:]]
    assert {(row["term_id"], row["curve_id"]): Decimal(row["value"]) for row in rows} == expected["portfolio.sql"]
    assert {row["type"] for row in rows if row["term_id"] == parameters["term"]} == {"Unknown"}


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("name", QUERIES)
def test_it_uses_an_index(filled, name):
    pipeline, parameters, _, _ = filled
    text = (FOLDER / name).read_text()
    with pipeline.connect() as connection:
        sizes = dict(connection.execute("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'").fetchall())
    more = {**parameters, "block": "29900"}   # the last hundred of what was filled in
    out = psql(pipeline, "EXPLAIN (FORMAT JSON) " + re.sub(r"^--.*\n", "", text, flags=re.M), more)
    plan = json.loads(out.split("\n", 1)[1])[0]["Plan"]
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    whole = [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan" and sizes[node["Relation Name"]] > LARGE]
    assert not whole, f"{name} reads all of {whole}:\n{json.dumps(plan, indent=1)}"
    assert any("Index" in node["Node Type"] for node in nodes(plan)), plan
