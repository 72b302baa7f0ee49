"""Folding vault_outbox while somebody holds an old snapshot, as pg_dump does: no taken row can be vacuumed then."""
import pytest

from test_plans import BY_KEY, prepared

TERMS = [f"0x{4 * bucket:02x}{bucket:062x}" for bucket in range(64)]
BUCKETS = "'{%s}'" % ",".join(map(str, range(64)))


@pytest.fixture
def session(pipeline):
    pipeline.migrate()
    with pipeline.connect() as connection:
        prepared(connection, "cascade/sql/30_vault_fold")
        for setting in (*BY_KEY, "jit"):
            connection.execute(f"SET {setting} = off")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


def tell(connection, terms=TERMS):
    connection.execute("SELECT vault_tell_of_terms(ARRAY[t], 0) FROM unnest(%s::text[]) t", (terms,))


def fold(connection, limit=2048, only="NULL"):
    return [row[0] for row in connection.execute(f"EXECUTE statement ({BUCKETS}, {only}, {limit})").fetchall()]


def pages(connection):
    tell(connection)
    plan = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE statement ({BUCKETS}, NULL, 2048)").fetchone()[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def test_a_round_reads_no_more_after_many_rounds(pipeline, session):
    with pipeline.connect() as holder:
        holder.autocommit = False
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM vault_outbox")
        first = [pages(session) for _ in range(10)][-1]
        for _ in range(300):
            tell(session)
            assert len(fold(session)) == 64
        assert pages(session) < 2 * first


def test_a_row_that_is_committed_late_is_found(pipeline, session):
    """Its transaction has an older xid than rows that were taken before."""
    with pipeline.connect() as late:
        late.autocommit = False
        tell(late, TERMS[:1])
        tell(session, TERMS[:2])
        assert sorted(fold(session)) == TERMS[:2]
        late.commit()
    assert fold(session) == TERMS[:1]


def test_a_round_that_was_rolled_back_comes_again(session):
    tell(session)
    session.autocommit = False
    assert len(fold(session)) == 64
    session.rollback()
    session.autocommit = True
    assert sorted(fold(session)) == TERMS


def test_what_a_round_left_comes_again(session):
    """It took as many rows as it may, or only those of one term."""
    tell(session)
    assert len(fold(session, limit=10)) == 10
    assert fold(session, only=f"'{{{TERMS[63]}}}'") == TERMS[63:]
    assert len(fold(session)) == 53
    assert fold(session) == []


def test_another_session_takes_what_this_one_wrote(pipeline, session):
    """What one session left nothing of, another has not looked at."""
    tell(session)
    fold(session)
    with pipeline.connect() as other:
        prepared(other, "cascade/sql/30_vault_fold")
        tell(other)
        assert sorted(fold(other)) == TERMS
