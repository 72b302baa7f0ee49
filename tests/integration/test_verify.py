"""`verify` finds whatever is wrong in any table of any level and names the row; `rebuild` mends it while the pipeline runs.

Damage is planted with session_replication_role = replica, so that no trigger carries it on to other tables."""
import random
from decimal import Decimal

import pytest
from psycopg import sql

import feeds
import oracle
from feeder import Feeder
from programs import SERVICES, Pipeline, close_all

EVENTS = [*oracle.EVENT_TABLES]
BASE = ["atom", "triple", "position", "vault"]
# who verifies what; of the vault's columns two are cascade's
OWNER = {**dict.fromkeys(EVENTS + BASE, "ingest"), "term": "cascade",
         **dict.fromkeys(["triple_vault", "triple_term", "predicate_object", "subject_predicate"], "analytics")}
CASCADES = {"position_count", "market_cap"}
ENRICHED = {"type", "emoji", "label", "image", "value_id", "resolving_status"}   # of atom: others fill these, nobody verifies them

DAMAGES = [(name, OWNER[name]) for name in oracle.TABLES] + [("vault", "cascade")]


def columns_of(name, owner):
    """Columns whose values this owner answers for."""
    table = oracle.TABLES[name]
    columns = [c for c in table.columns if c not in table.key]
    if name == "vault":
        return [c for c in columns if (c in CASCADES) == (owner == "cascade")]
    return [c for c in columns if not (name == "atom" and c in ENRICHED)]


def wrong(name, column, value):
    """Another valid value of the column's kind."""
    kind = oracle.TABLES[name].columns[column]
    if kind == "int":
        return value + 1
    if kind == "bytes":
        return b"wrong" if value is not None else b"\xff"
    if kind == "text" and value is not None and value.isascii() and value.isdigit():
        return str((int(value) + 1) % 2**256)
    if kind == "text" and value is not None and value.startswith("0x") and len(value) > 3:
        return "0x" + ("1" if value[2] != "1" else "2") + value[3:]
    return "wrong"


class Planter:
    """Damages rows of one table, each row once, and remembers which."""

    def __init__(self, connection, name, seed):
        self.connection, self.name, self.table = connection, name, oracle.TABLES[name]
        with connection.cursor() as cursor:
            keys = sorted(oracle.read_table(cursor, name))
        random.Random(seed).shuffle(keys)
        self.free, self.damaged = keys, []
        connection.execute("SET session_replication_role = replica")

    def _where(self):
        return sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in self.table.key)

    def _take(self):
        key = self.free.pop()
        self.damaged.append(key)
        return key

    def _run(self, statement, values, **names):
        done = self.connection.execute(sql.SQL(statement).format(table=sql.Identifier(self.name), where=self._where(), **names), values)
        assert done.rowcount == 1

    def change(self, column):
        key = self._take()
        kind = self.table.columns[column]
        one = sql.Identifier(column)
        if kind == "time":
            self._run("UPDATE {table} SET {one} = coalesce({one}, now()) + interval '1 microsecond' WHERE {where}", key, one=one)
        elif kind == "json":
            self._run("UPDATE {table} SET {one} = {one} || '{{\"planted\": 1}}' WHERE {where}", key, one=one)
        else:
            value = self.connection.execute(
                sql.SQL("SELECT {} FROM {} WHERE {}").format(one, sql.Identifier(self.name), self._where()), key).fetchone()[0]
            self._run("UPDATE {table} SET {one} = %s WHERE {where}", (wrong(self.name, column, value), *key), one=one)

    def remove(self):
        self._run("DELETE FROM {table} WHERE {where}", self._take())

    def add(self):
        """A row that should not be there: a copy of another with a key of its own."""
        key = list(self.free[-1])
        first = self.table.key[0]
        key[0] = wrong(self.name, first, key[0])
        columns = sql.SQL(", ").join(sql.Identifier(row[0]) for row in self.connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER' "
            "AND is_identity = 'NO'", (self.name,)))
        # the copy's first key column is replaced on its way through json
        self._run("INSERT INTO {table} ({columns}) SELECT {columns} FROM (SELECT (jsonb_populate_record(t, jsonb_build_object({first}, %s::text))).* "
                  "FROM {table} t WHERE {where}) copy", (key[0], *self.free.pop()), columns=columns, first=sql.Literal(first))
        self.damaged.append(tuple(key))

    def everything(self, owner):
        if not (self.name == "vault" and owner == "cascade"):   # whether a vault exists is ingest's
            self.remove()
            self.add()
        for column in columns_of(self.name, owner):
            self.change(column)
        return self.damaged


def unnamed(keys, output):
    """The keys that no line of the output names."""
    lines = output.splitlines()
    return [key for key in keys if not any(all(str(part) in line for part in key) for line in lines)]


@pytest.fixture(scope="module")
def messages(recording):
    """The recording's first blocks, and generic events."""
    generic = []
    for number, message in enumerate(recording[:60]):
        event = message.events[0]
        about = {**event["transaction_information"], "log_index": 100_000 + number}
        generic.append(feeds.Message("generic", "Unheard", ({"number": number, "transaction_information": about},)))
    return feeds.new_ids(feeds.prefix(recording, 3000)) + generic


@pytest.fixture(scope="module")
def filled(redis_server, postgres_server, tmp_path_factory, messages):
    """A pipeline that has drained its feed and goes on running."""
    pipeline = Pipeline(redis_server, postgres_server, tmp_path_factory.mktemp("verify"), {"BACKFILL_INTERVAL_MS": 1000}).create_database()
    pipeline.listen_to(messages).start()
    pipeline.feed(messages)
    pipeline.drain()
    with pipeline.connect() as connection:
        connection.execute("CREATE SCHEMA kept")
        for name in oracle.TABLES:
            connection.execute(f"CREATE TABLE kept.{name} AS TABLE public.{name}")
    yield pipeline
    close_all([pipeline])


def restore(pipeline, connection):
    """What a failed rebuild left wrong must not fail the tests after it."""
    for name in {difference.table for difference in oracle.compare(connection, pipeline.entries)}:
        connection.execute(f"DELETE FROM {name}")
        connection.execute(f"INSERT INTO {name} SELECT * FROM kept.{name}")


def test_nothing_is_wrong(filled):
    filled.assert_exact()
    filled.assert_verified()


@pytest.mark.parametrize("name,owner", DAMAGES)
def test_verify_names_every_damaged_row_and_rebuild_mends(filled, seed, name, owner):
    with filled.connect() as connection:
        try:
            damaged = Planter(connection, name, seed).everything(owner)
            found = filled.run(owner, "verify")
            assert found.returncode == 1, found.stdout + found.stderr
            assert unnamed(damaged, found.stdout) == [], found.stdout
            assert name in found.stdout
            for stage in SERVICES[SERVICES.index(owner):]:   # what stands above was computed before the damage; mending it moves that too
                mended = filled.run(stage, "rebuild")
                assert mended.returncode == 0, mended.stdout + mended.stderr
                # a vault without events goes when cascade has counted its holders anew
                if stage == owner and name != "vault":
                    assert filled.run(owner, "verify").returncode == 0
            filled.drain()
            assert filled.run(owner, "verify").returncode == 0
            differences = oracle.compare(connection, filled.entries)
            assert not differences, oracle.report(differences)
        finally:
            restore(filled, connection)


@pytest.mark.parametrize("name", ["deposited_events", "position", "term", "predicate_object"])
def test_one_wrong_value_is_enough(filled, seed, name):
    with filled.connect() as connection:
        planter = Planter(connection, name, seed)
        column = {"deposited_events": "assets", "position": "shares", "term": "total_assets", "predicate_object": "triple_count"}[name]
        planter.change(column)
        found = filled.run(OWNER[name], "verify")
        key = dict(zip(planter.table.key, planter.damaged[0]))
        where = " AND ".join(f"{c} = %({c})s" for c in key)
        value = connection.execute(f"SELECT {column} FROM {name} WHERE {where}", key).fetchone()[0]
        back = str(int(value) - 1) if isinstance(value, str) else Decimal(value) - 1
        connection.execute(f"UPDATE {name} SET {column} = %(back)s WHERE {where}", {**key, "back": back})
    assert found.returncode == 1 and not unnamed(planter.damaged, found.stdout), found.stdout
    filled.assert_verified()


def test_verify_is_right_while_the_pipeline_runs(pipeline, recording, seed):
    messages = feeds.shuffled(recording, seed)
    pipeline.listen_to(messages)
    services = pipeline.start()
    for service in services:
        service.ready()
    feeder = Feeder(pipeline, messages)
    for share in (0.1, 0.4, 0.7):
        feeder.reaches(share)
        pipeline.assert_verified()
    feeder.join()
    pipeline.drain().assert_exact()


def test_rebuild_of_everything_under_a_feed(pipeline, recording, seed):
    """All tables are damaged, and events go on coming in while the three rebuild."""
    messages = feeds.new_ids(recording)
    first = len(messages) * 2 // 3   # enough rows of every table to damage
    pipeline.listen_to(messages).start()
    pipeline.feed(messages[:first])
    pipeline.drain()
    with pipeline.connect() as connection:
        for name, owner in DAMAGES:
            if name != "generic_events":
                Planter(connection, name, seed).everything(owner)
    feeder = Feeder(pipeline, messages[first:])
    feeder.reaches(0.1)
    for name in ("ingest", "cascade", "analytics"):
        done = pipeline.run(name, "rebuild")
        assert done.returncode == 0, done.stdout + done.stderr
    feeder.join()
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_rebuild_of_what_is_right_changes_nothing(pipeline, small):
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    for name in ("analytics", "cascade", "ingest"):
        assert pipeline.run(name, "rebuild").returncode == 0
    pipeline.drain().assert_exact()
