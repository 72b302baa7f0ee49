"""What PostgreSQL makes of the stages' statements where its statistics mislead it: pages read, not time."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TERMS = 3000
BY_KEY = ("jit", "enable_seqscan", "enable_bitmapscan", "enable_mergejoin", "enable_hashjoin")   # off, as in DB_BY_KEY


@pytest.fixture
def emptied(pipeline):
    """Outboxes that were full, were emptied and vacuumed, as any does between two floods: the planner takes them for empty. Then they fill."""
    pipeline.migrate()
    terms = [f"0x{i:064x}" for i in range(TERMS)]
    with pipeline.connect() as connection:
        for _ in range(2):
            connection.execute("SELECT vault_tell_of_terms(ARRAY[t], 0) FROM unnest(%s::text[]) t", (terms,))
            connection.execute("INSERT INTO term_outbox (term_id, block_number) SELECT t, 0 FROM unnest(%s::text[]) t", (terms,))
            if _ == 0:
                for table in ("vault_outbox", "term_outbox"):
                    connection.execute(f"DELETE FROM {table}")
                    connection.execute(f"VACUUM (TRUNCATE off) {table}")
        yield connection, terms


@pytest.mark.parametrize("name, only_these", [("cascade/sql/30_vault_fold", False), ("cascade/sql/30_vault_fold", True),
                                              ("analytics/sql/40_outbox_waiting", False), ("analytics/sql/40_outbox_take", False)])
def test_an_outbox_that_was_empty_is_read_by_key(emptied, name, only_these):
    connection, terms = emptied
    only = terms[:10] if only_these else None
    text = re.sub(r"--.*", "", (ROOT / f"{name}.sql").read_text())
    connection.execute(f"PREPARE statement AS {text}")
    ids = [row[0] for row in connection.execute("SELECT id FROM term_outbox ORDER BY id").fetchall()]
    values = [ids, terms, terms] if "take" in name else [terms, only, None] if "fold" in name else [terms]
    connection.execute("BEGIN")
    for setting in BY_KEY:
        connection.execute(f"SET LOCAL {setting} = off")
    connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    call = ", ".join("NULL" if value is None else "'{" + ",".join(map(str, value)) + "}'" for value in values)
    plan = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE statement ({call})").fetchone()[0][0]["Plan"]
    connection.execute("ROLLBACK")

    def nodes(node):
        yield node
        for child in node.get("Plans", ()):
            yield from nodes(child)
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50 * TERMS
    assert max(node.get("Rows Removed by Join Filter", 0) for node in nodes(plan)) < 50 * TERMS, "each row with each"
    assert not [node["Filter"] for node in nodes(plan) if "ANY ($" in node.get("Filter", "")], "each row with each of the array"
    assert plan["Actual Rows"] == (10 if only_these else TERMS)


COMMON = {"transaction_hash": "t", "log_index": "0", "address": "'0x'", "block_hash": "'0x'", "block_number": "i", "network": "'n'", "transaction_index": "0",
          "stream": "'s'", "stream_ms": "1", "stream_seq": "i"}
OWN = {
    "deposited_events": {"sender": "'s'", "receiver": "'r'", "term_id": "t", "curve_id": "'1'", "assets": "'1'", "assets_after_fees": "'1'", "shares": "'1'",
                         "total_shares": "'1'", "vault_type": "0"},
    "share_price_changed_events": {"term_id": "t", "curve_id": "'1'", "share_price": "'1'", "total_assets": "'1'", "total_shares": "'1'", "vault_type": "0"},
    "atom_created_events": {"creator": "'c'", "atom_wallet": "'w'", "term_id": "t"},
}


@pytest.mark.parametrize("table", OWN)
def test_a_trigger_looks_up_by_key_where_its_tables_were_empty(pipeline, table):
    """Its plan is made once a session, here when base tables had been vacuumed while they were empty."""
    pipeline.migrate()
    columns = COMMON | OWN[table]
    with pipeline.connect() as connection:
        for name in ("vault", "position", "atom"):
            connection.execute(f"VACUUM {name}")
        for batch in range(4):
            connection.execute(f"""INSERT INTO {table} ({", ".join(columns)}) SELECT {", ".join(columns.values())}
                FROM (SELECT i, '0x' || lpad(to_hex(i), 64, '0') AS t FROM generate_series({batch * TERMS + 1}, {(batch + 1) * TERMS}) i) e""")
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT 1")
        read = connection.execute("SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('vault', 'position', 'atom')").fetchone()[0]
        assert connection.execute(f"SELECT count(*) FROM {'atom' if 'atom' in table else 'vault'}").fetchone()[0] == 4 * TERMS
    assert read <= 4 * TERMS, "a table is read as a whole for each key"
