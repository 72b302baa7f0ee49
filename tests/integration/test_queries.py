"""deploy/queries and the views of schema api: each example runs in psql as it stands, answers what it shows, is right, and finds its rows by an index
however large the tables are.

    WRITE_DOCUMENTS=1 pytest tests/integration/test_queries.py     writes the answers anew instead of comparing them"""
import hashlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from servers import Server
from waiting import until

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "queries"
QUERIES = sorted(path.name for path in FOLDER.glob("*.sql"))
WHOLE = ("creators.sql", "value_by_day.sql")   # they read a whole table, and say so
LARGE = 3000   # rows; what has fewer may be read as a whole

# As many rows again as a real installation has; the triggers stay out of it.
FILL = """
SET session_replication_role = replica;
INSERT INTO atom SELECT '0x' || md5('a' || i) || md5('b' || i), 'w', '0x' || left(md5('p' || i % 5000) || md5(''), 40), 'atom ' || i, NULL, NULL,
        NULL, NULL, NULL, NULL, 'Pending', i, 0, 'filled', i, 0, now(), now()
FROM generate_series(1, 30000) i;
INSERT INTO triple SELECT '0x' || md5('t' || i) || md5('u' || i), '0x' || left(md5('p' || i % 5000) || md5(''), 40), '0x' || md5('a' || i) || md5('b' || i),
        '0x' || md5('a' || i % 50) || md5('b' || i % 50),
        '0x' || md5('a' || i % 900) || md5('b' || i % 900), '0x' || md5('v' || i) || md5('w' || i), i, 0, 'filled', i, 0, now(), now() FROM generate_series(1, 30000) i;
INSERT INTO triple_term (term_id, counter_term_id, total_assets, total_market_cap, total_position_count)
SELECT term_id, counter_term_id, last_event_block, last_event_block * 7, 1 FROM triple WHERE last_event_transaction = 'filled';
INSERT INTO term (id, type) SELECT term_id, 'Atom' FROM atom WHERE last_event_transaction = 'filled';
INSERT INTO vault (term_id, curve_id, vault_type, first_event_block, created_at, updated_at) SELECT term_id, '1', '0', 1, now(), now() FROM atom WHERE last_event_transaction = 'filled';
INSERT INTO position (account_id, term_id, curve_id, shares, last_event_block, last_event_log_index, last_event_transaction, first_is_deposit, first_event_block,
        first_event_log_index, count_delta, created_at, updated_at)
SELECT creator_id, term_id, '1', last_event_block, last_event_block, 0, 't', true, last_event_block, 0, 1, now(), now()
FROM atom WHERE last_event_transaction = 'filled';
INSERT INTO share_price_changed_events SELECT md5('s' || i), 0, 'x', 'h', 10 + i, 'n', 0, now(), 's', i, 0, '0x' || md5('a' || i) || md5('b' || i), '1', '1', '1', '1', 0
FROM generate_series(1, 30000) i;
INSERT INTO deposited_events SELECT md5('d' || last_event_block), 0, 'x', 'h', 10 + last_event_block, 'n', 0, now(), 's', 1, 0, 's', creator_id,
        term_id, '1', '1', '1', '1', '1', 0 FROM atom WHERE last_event_transaction = 'filled';
INSERT INTO redeemed_events SELECT md5('e' || last_event_block), 0, 'x', 'h', 10 + last_event_block, 'n', 0, now(), 's', 1, 0, 's', creator_id,
        term_id, '1', '1', '1', '1', '1', 0 FROM atom WHERE last_event_transaction = 'filled';
INSERT INTO orphaned_events (source_table, transaction_hash, log_index, block_hash, block_number, event_row, stream, stream_ms, stream_seq, reason)
SELECT 'deposited_events', md5('o' || i), 0, 'h', i, '{}', 's', i, 0, 'reorg' FROM generate_series(1, 30000) i;
ANALYZE;
"""


@pytest.fixture(scope="module")
def filled(redis_server, postgres_server, recording, tmp_path_factory):
    """The recording's tables -> (pipeline, parameters of the queries, what they return before the tables are filled up, what they should,
    what they show as they stand)"""
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
            shown = {name: answer(pipeline, name) for name in QUERIES}
            expected = by_hand(connection, parameters)
            connection.execute(FILL)
            connection.execute("VACUUM share_price_changed_events")   # as autovacuum does: BRIN knows what is summarised
        yield pipeline, parameters, before, expected, shown
    finally:
        close_all([pipeline])


def psql(pipeline, text, parameters, layout=("-A", "-F", "\t", "-P", "footer=off")):
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *layout, *(part for name, value in parameters.items() for part in ("-v", f"{name}={value}")),
                           pipeline.postgres_server.url(pipeline.database)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(pipeline, name, parameters):
    lines = psql(pipeline, (FOLDER / name).read_text(), parameters).splitlines()
    heads = lines[0].split("\t")
    return [dict(zip(heads, line.split("\t"))) for line in lines[1:]]


ANSWER = "-- The recording answers:\n"
ROWS_SHOWN = 4


def answer(pipeline, name):
    """What it answers without variables, as the comment at its end: the first rows, and how many there are."""
    rows = [line.rstrip() for line in psql(pipeline, (FOLDER / name).read_text(), {}, layout=("-P", "pager=off")).rstrip("\n").splitlines()]
    return ANSWER + "\n".join(f"-- {line}".rstrip() for line in rows[:2 + ROWS_SHOWN] + rows[max(len(rows) - 1, 2 + ROWS_SHOWN):]) + "\n"


def by_hand(connection, parameters):
    """The answers a second time, in Python, from whole tables."""
    def table(name):
        cursor = connection.execute(f"SELECT * FROM {name}")
        return [dict(zip([column.name for column in cursor.description], row)) for row in cursor.fetchall()]
    vaults = {(v["term_id"], v["curve_id"]): v for v in table("vault")}
    held = [p for p in table("position") if p["shares"] > 0]
    value = lambda p: p["shares"] * vaults[p["term_id"], p["curve_id"]]["current_share_price"] // 10**18
    paid = lambda p: (p["total_deposit_assets_after_total_fees"], p["total_redeem_assets_for_receiver"])
    caps = sorted((t["total_market_cap"] for t in table("triple_term")), reverse=True)[:10]
    prices = [e for e in table("share_price_changed_events") if (e["term_id"], e["curve_id"]) == (parameters["term"], parameters["curve"])]
    flows = [e for name in ("deposited_events", "redeemed_events") for e in table(name)]
    hours = defaultdict(list)
    for e in sorted(prices, key=lambda e: (e["block_number"], e["log_index"])):
        hours[e["block_timestamp"].replace(minute=0, second=0).strftime("%Y-%m-%d %H:%M:%S+00")].append(int(e["share_price"]))
    mine = [p for p in table("position") if p["account_id"] == parameters["account"]]
    days = defaultdict(dict)
    for e in sorted(table("share_price_changed_events"), key=lambda e: (e["block_number"], e["log_index"])):
        days[e["block_timestamp"].strftime("%Y-%m-%d")][e["term_id"], e["curve_id"]] = int(e["total_assets"])
    totals, known = [], {}
    for day, of in sorted(days.items()):
        before = sum(known.values())
        known |= of
        totals.append((day, sum(known.values()), sum(known.values()) - before))
    cap = lambda term: sum(v["market_cap"] for v in vaults.values() if v["term_id"] == term)
    holders = lambda term: sum(v["position_count"] for v in vaults.values() if v["term_id"] == term)
    creators = Counter(atom["creator_id"] for atom in table("atom"))
    return {
        "account_total.sql": [(sum(p["shares"] > 0 for p in mine), sum(p["shares"] == 0 for p in mine), sum(map(value, mine)),
                               sum(value(p) + paid(p)[1] - paid(p)[0] for p in mine), *(sum(paid(p)[i] for p in mine) for i in (0, 1)))],
        "for_and_against.sql": {t["term_id"]: (cap(t["term_id"]), cap(t["counter_term_id"]), holders(t["term_id"]), holders(t["counter_term_id"]))
                                for t in table("triple") if t["subject_id"] == parameters["subject"]},
        "creators.sql": sorted(creators.items(), key=lambda one: (-one[1], one[0]))[:10],
        "value_by_day.sql": totals,
        "portfolio.sql": {(p["term_id"], p["curve_id"]): (value(p), *paid(p), value(p) + paid(p)[1] - paid(p)[0])
                          for p in held if p["account_id"] == parameters["account"]},
        "top_triples.sql": caps,
        "holders.sql": sorted(((p["shares"], value(p)) for p in held if (p["term_id"], p["curve_id"]) == (parameters["term"], parameters["curve"])),
                              reverse=True)[:10],
        "candles.sql": [(hour, of[0], max(of), min(of), of[-1], len(of)) for hour, of in sorted(hours.items(), reverse=True)[:100]],
        "price_history.sql": [Decimal(e["share_price"]) for e in sorted(prices, key=lambda e: (e["block_number"], e["log_index"]), reverse=True)[:100]],
        "account_history.sql": sorted(((e["block_number"], e["log_index"], int(e["assets"])) for e in flows if e["receiver"] == parameters["account"]),
                                      reverse=True),
        "recent_activity.sql": sorted(((e["block_number"], e["log_index"]) for e in flows), reverse=True)[:20],
        "triples_about.sql": {t["term_id"] for t in table("triple") if t["subject_id"] == parameters["subject"]},
        "prices_between.sql": [(e["block_number"], e["log_index"]) for e in sorted(
            table("share_price_changed_events"), key=lambda e: (e["block_number"], e["log_index"]))
            if datetime.fromisoformat(parameters["since"]) <= e["block_timestamp"] < datetime.fromisoformat(parameters["until"])],
        "changed_since.sql": {(e["term_id"], e["curve_id"]) for e in table("share_price_changed_events") if e["block_number"] >= int(parameters["block"])},
    }


def numbers(row, *columns):
    return tuple(int(row[column]) for column in columns)


def test_the_answers_are_right(filled):
    _, _, found, expected, _ = filled
    key = lambda row: numbers(row, "block_number", "log_index")
    assert portfolio(found["portfolio.sql"]) == expected["portfolio.sql"]
    assert [Decimal(row["market_cap"]) for row in found["top_triples.sql"]] == expected["top_triples.sql"]
    assert [numbers(row, "shares", "value") for row in found["holders.sql"]] == expected["holders.sql"]
    assert [(row["hour"], *numbers(row, "open", "high", "low", "close", "changes")) for row in found["candles.sql"]] == expected["candles.sql"]
    assert [Decimal(row["share_price"]) for row in found["price_history.sql"]] == expected["price_history.sql"]
    assert [(*key(row), int(row["assets"])) for row in found["account_history.sql"]] == expected["account_history.sql"]
    assert {row["id"] for row in found["triples_about.sql"]} == expected["triples_about.sql"]
    assert {(row["term_id"], row["curve_id"]) for row in found["changed_since.sql"]} == expected["changed_since.sql"]
    assert [key(row) for row in found["prices_between.sql"]] == expected["prices_between.sql"]
    assert [key(row) for row in found["recent_activity.sql"]] == expected["recent_activity.sql"]
    assert [numbers(row, "open", "closed", "value", "profit", "deposited", "redeemed") for row in found["account_total.sql"]] == expected["account_total.sql"]
    assert {row["id"]: numbers(row, "for_it", "against_it", "holders_for", "holders_against") for row in found["for_and_against.sql"]} == expected["for_and_against.sql"]
    assert [(row["creator"], int(row["atoms"])) for row in found["creators.sql"]] == expected["creators.sql"]
    assert [(row["day"], *numbers(row, "total_assets", "change")) for row in found["value_by_day.sql"]] == expected["value_by_day.sql"]
    assert all(expected.values()) and found["orphaned.sql"] == []
    assert {*found} == {*expected, "orphaned.sql"}


def portfolio(rows):
    return {(row["term_id"], row["curve_id"]): numbers(row, "value", "deposited", "redeemed", "profit") for row in rows}


@pytest.mark.parametrize("name", QUERIES)
def test_it_answers_what_it_shows(filled, name):
    path, found = FOLDER / name, filled[4][name]
    question, mark, shown = path.read_text().partition(ANSWER)
    if os.environ.get("WRITE_DOCUMENTS"):
        path.write_text(question + found)
    else:
        assert mark + shown == found
    assert question.startswith("-- ") and f"({name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("spelling", [str.lower, lambda address: "0x" + address[2:].upper()])
def test_an_account_in_any_case_finds_its_rows(filled, spelling):
    pipeline, parameters, found, _, _ = filled
    with pipeline.connect() as connection:
        without_icu(connection)
    other = {**parameters, "account": spelling(parameters["account"])}
    assert other["account"] != parameters["account"]
    for name in ("portfolio.sql", "account_history.sql"):
        assert run(pipeline, name, other) == found[name]


def without_icu(connection):
    if connection.execute("SELECT collprovider FROM pg_collation WHERE collname = 'any_case'").fetchone()[0] != "i":
        pytest.skip("PostgreSQL without ICU")


def test_orphaned_events_are_listed(filled):
    pipeline, parameters, *_ = filled
    found = run(pipeline, "orphaned.sql", {**parameters, "block": "29998"})
    assert [(row["block_number"], row["source_table"], row["reason"], row["log_index"]) for row in found] == [
        (str(block), "deposited_events", "reorg", "0") for block in (29998, 29999, 30000)]
    assert [row["transaction_hash"] for row in found] == [hashlib.md5(f"o{block}".encode()).hexdigest() for block in (29998, 29999, 30000)]


def test_the_portfolio_shows_what_cascade_has_not_reached(filled):
    pipeline, parameters, _, expected, _ = filled
    out = psql(pipeline, "BEGIN;\nDELETE FROM term WHERE id = :'term';\n" + (FOLDER / "portfolio.sql").read_text() + "ROLLBACK;\n", parameters)
    lines = [line.split("\t") for line in out.splitlines()]
    assert portfolio(dict(zip(lines[0], line)) for line in lines[1:]) == expected["portfolio.sql"]


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


FILLED = {"account": "0x" + (hashlib.md5(b"p1").hexdigest() + hashlib.md5(b"").hexdigest())[:40].upper(),   # stored in lower case
          "block": "29900",                                                                                    # the last hundred of what was filled in
          "id": "0x" + hashlib.md5(b"a7").hexdigest() + hashlib.md5(b"b7").hexdigest(),
          "triple": "0x" + hashlib.md5(b"t7").hexdigest() + hashlib.md5(b"u7").hexdigest()}


def assert_by_index(pipeline, query, parameters):
    """No large table is read as a whole."""
    with pipeline.connect() as connection:
        sizes = dict(connection.execute("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'").fetchall())
    out = psql(pipeline, "EXPLAIN (FORMAT JSON) " + re.sub(r"^(--|\\).*\n", "", query, flags=re.M), parameters)
    plan = json.loads(out.split("\n", 1)[1])[0]["Plan"]
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    whole = [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan" and sizes[node["Relation Name"]] > LARGE]
    assert not whole, f"{query} reads all of {whole}:\n{json.dumps(plan, indent=1)}"
    assert any("Index" in node["Node Type"] for node in nodes(plan)), plan


@pytest.mark.parametrize("name", [name for name in QUERIES if name not in WHOLE])
def test_it_uses_an_index(filled, name):
    pipeline, parameters, *_ = filled
    assert_by_index(pipeline, (FOLDER / name).read_text(), {**parameters, **FILLED})


@pytest.mark.parametrize("query", [
    "SELECT * FROM api.term WHERE id = :'id'", "SELECT * FROM api.atom WHERE id = :'id'", "SELECT * FROM api.atom WHERE creator = :'account'",
    "SELECT * FROM api.triple WHERE id = :'triple'", "SELECT * FROM api.triple WHERE creator = :'account'", "SELECT * FROM api.triple WHERE object_id = :'id'",
    "SELECT * FROM api.triple ORDER BY market_cap DESC LIMIT 10", "SELECT * FROM api.position WHERE account = :'account'",
    "SELECT * FROM api.position WHERE term_id = :'id'", "SELECT * FROM api.vault WHERE term_id = :'id'", "SELECT * FROM api.activity LIMIT 10",
    "SELECT * FROM api.activity WHERE account = :'account' LIMIT 10", "SELECT * FROM api.activity WHERE term_id = :'id'",
    "SELECT * FROM api.price WHERE term_id = :'id' ORDER BY block_number DESC LIMIT 10", "SELECT * FROM api.price ORDER BY block_number DESC LIMIT 10"])
def test_a_view_answers_by_an_index(filled, query):
    pipeline, *_ = filled
    if "account" in query:
        with pipeline.connect() as connection:
            without_icu(connection)
    assert psql(pipeline, query, FILLED).count("\n") > 1, "it finds nothing"
    assert_by_index(pipeline, query, FILLED)


class PostGraphile(Server):
    """As deploy/queries/README.md says, in the role `web`. $POSTGRAPHILE: its program (tests/servers/run)."""
    label = "postgraphile"
    orderly, death = signal.SIGTERM, signal.SIGKILL

    def __init__(self, folder, database):
        super().__init__(folder)
        self.database = database

    def command(self):
        return ["node", os.environ["POSTGRAPHILE"], "-c", self.database, "-s", "api", "--disable-default-mutations", "--no-ignore-rbac",
                "-n", "127.0.0.1", "-p", str(self.port), "--disable-graphiql"]

    def ask(self, query):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def answers(self):
        try:
            return self.ask("{ __typename }")
        except (urllib.error.URLError, ConnectionError):
            return False


@pytest.mark.skipif("POSTGRAPHILE" not in os.environ, reason="tests/servers/run postgraphile fetches it")
def test_postgraphile_serves_schema_api(filled, own_servers, server_folder):
    pipeline, parameters, found, expected, _ = filled
    with pipeline.connect() as connection:
        connection.execute("CREATE ROLE web LOGIN PASSWORD 'word' IN ROLE intuition_read")
        connection.execute("ALTER ROLE web SET statement_timeout = '60s'")
    server = PostGraphile(server_folder, pipeline.postgres_server.url(pipeline.database).replace("//postgres@", "//web:word@"))
    own_servers.append(server.start())
    positions = server.ask(f'''{{ allPositions(condition: {{account: "{parameters['account'].lower()}"}}, orderBy: VALUE_DESC)
        {{ nodes {{ termId curveId shares value deposited redeemed profit label }} }} }}''')["allPositions"]["nodes"]
    held = [row for row in positions if int(row["shares"])]
    assert {(row["termId"], row["curveId"]): numbers(row, "value", "deposited", "redeemed", "profit") for row in held} == expected["portfolio.sql"]
    assert [int(row["value"]) for row in positions] == sorted((int(row["value"]) for row in positions), reverse=True)
    triples = server.ask(f'''{{ allTriples(condition: {{subjectId: "{parameters['subject']}"}}) {{ nodes {{ id subject predicate object }} }} }}''')
    assert {row["id"] for row in triples["allTriples"]["nodes"]} == expected["triples_about.sql"]
    activities = server.ask("{ allActivities(first: 20) { nodes { blockNumber logIndex } } }")["allActivities"]["nodes"]
    assert len(activities) == 20
    mutations = server.ask("{ __schema { mutationType { name } } }")["__schema"]["mutationType"]
    assert mutations is None, "it writes nothing"
