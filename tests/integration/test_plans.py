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
    prepared(connection, name)
    ids = [row[0] for row in connection.execute("SELECT id FROM term_outbox ORDER BY term_id").fetchall()]
    values = [terms, ids, terms, terms] if "take" in name else [[0], only, 100_000] if "fold" in name else [terms, 100_000]
    connection.execute("BEGIN")
    for setting in BY_KEY:
        connection.execute(f"SET LOCAL {setting} = off")
    connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    call = ", ".join("NULL" if value is None else str(value) if isinstance(value, int) else "'{" + ",".join(map(str, value)) + "}'" for value in values)
    plan = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE statement ({call})").fetchone()[0][0]["Plan"]
    connection.execute("ROLLBACK")
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50 * TERMS
    assert max(node.get("Rows Removed by Join Filter", 0) for node in nodes(plan)) < 50 * TERMS, "each row with each"
    assert not [node["Filter"] for node in nodes(plan) if "ANY ($" in node.get("Filter", "")], "each row with each of the array"
    assert plan["Actual Rows"] == (10 if only_these else TERMS)


def prepared(connection, name):
    text = re.sub(r"--.*", "", (ROOT / f"{name}.sql").read_text())
    connection.execute("DEALLOCATE ALL")
    connection.execute(f"PREPARE statement AS {text}")


def nodes(node):
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("name, arrays", [("cascade/sql/30_vault_fold", "BN#"), ("cascade/sql/30_vault_recount", "T"), ("cascade/sql/30_vault_bury", "T"),
                                          ("cascade/sql/31_term_recompute", "T"), ("analytics/sql/40_triple_lock", "TC"),
                                          ("analytics/sql/40_triple_vault_recompute", "TC"), ("analytics/sql/41_triple_term_recompute", "TC")])
def test_tables_that_were_empty_are_read_by_key(pipeline, name, arrays):
    """Every table was vacuumed while it was empty; then came what is there now."""
    pipeline.migrate()
    terms, counters = [f"0x{i:064x}" for i in range(TERMS)], [f"0xf{i:063x}" for i in range(TERMS)]
    with pipeline.connect() as connection:
        for table in ("atom", "triple", "position", "vault", "term", "triple_vault", "triple_term", "predicate_object", "subject_predicate", "vault_outbox",
                      "term_outbox"):
            connection.execute(f"VACUUM {table}")
        connection.execute("""INSERT INTO triple (term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block, last_event_log_index,
                              last_event_transaction, first_event_block, first_event_log_index, created_at, updated_at)
                              SELECT t, 'c', t, 'p', t, c, 1, 1, 't', 1, 1, now(), now() FROM unnest(%s::text[], %s::text[]) k (t, c)""", (terms, counters))
        connection.execute("""INSERT INTO vault (term_id, curve_id, vault_type, first_event_block, created_at, updated_at)
                              SELECT t, '1', '0', CASE WHEN t < %s THEN 1 END, now(), now() FROM unnest(%s::text[]) t""", (terms[-50], terms))
        connection.execute("INSERT INTO position SELECT 'a', t, '1', 1, 1, 1, 1, 1, 't', true, 1, 1, 1, now(), now() FROM unnest(%s::text[]) t", (terms,))
        connection.execute("INSERT INTO term (id, triple_id) SELECT t, t FROM unnest(%s::text[]) t", (terms,))
        connection.execute("INSERT INTO triple_term (term_id, counter_term_id) SELECT * FROM unnest(%s::text[], %s::text[])", (terms, counters))
        connection.execute("INSERT INTO triple_vault SELECT t, c, '1', 0, 0, 0, 0 FROM unnest(%s::text[], %s::text[]) k (t, c)", (terms, counters))
        connection.execute("""INSERT INTO vault_outbox (bucket, term_ids, curve_ids, position_deltas, block_number)
                              SELECT vault_bucket(t), array_agg(t), array_agg('1'::text), array_agg(1), 1 FROM unnest(%s::text[]) t GROUP BY 1""", (terms,))
        prepared(connection, name)
        call = ", ".join({"T": "'{" + ",".join(terms) + "}'", "C": "'{" + ",".join(counters) + "}'", "N": "NULL", "B": "'{0}'", "#": "100000"}[array] for array in arrays)
        connection.execute("BEGIN")
        for setting in BY_KEY:
            connection.execute(f"SET LOCAL {setting} = off")
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.execute("SET LOCAL statement_timeout = '60s'")
        plan = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE statement ({call})").fetchone()[0][0]["Plan"]
        connection.execute("ROLLBACK")
    removed = [(node.get("Relation Name", node["Node Type"]), how, node[how] * node["Actual Loops"]) for node in nodes(plan)
               for how in ("Rows Removed by Join Filter", "Rows Removed by Filter") if node.get(how, 0) * node["Actual Loops"] > 50 * TERMS]
    assert not removed, "each row with each"
    assert not [node["Filter"] for node in nodes(plan) if "ANY ($" in node.get("Filter", "")], "each row with each of the array"


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
        if connection.info.server_version < 150000:
            pytest.skip("PostgreSQL 14 has no pg_stat_force_next_flush")
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
