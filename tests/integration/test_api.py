"""Schema api: labels, comments, the role that reads, and the schema's name. test_queries.py looks at the views' answers and plans."""
from urllib.parse import quote

import pytest
from psycopg import errors, sql

import oracle

VIEWS = {"term", "atom", "triple", "position", "vault", "activity", "price"}
LONG = "x" * 59 + "…"
LABELS = [   # data -> label of the atom's own
    ("hello", "hello"), ("  two\n\t lines \u0001", "two lines"), ("x" * 60, "x" * 60), ("x" * 61, LONG), ("\u202eevil\u0085", "evil"),
    ("🌑" * 61, "🌑" * 59 + "…"), ('{"name": "Ann"}', "Ann"), (' {"@type": "Thing", "name": "\\u00c9co \\u0001 \\"q\\""}', 'Éco "q"'),
    ('{"name": "' + "x" * 100 + '"}', LONG), ('{"name": "broken"', '{"name": "broken"'), ('{"name": "\\u0000"}', '{"name": "\\u0000"}'),
    ('{"name": "\\ud800"}', '{"name": "\\ud800"}'), ('{"name": " "}', '{"name": " "}'), ('{"name": null}', '{"name": null}'), ('{"a": 1}', '{"a": 1}'),
    ('{"name": 7}', "7"), ('{"n": 1e999999}', '{"n": 1e999999}'), ("[1]", "[1]"), ('{"a":' * 100000, ('{"a":' * 12)[:59] + "…"), ("", None), (" \n", None),
    (None, None)]


def id_of(n):
    return f"0x{n:064x}"


def short(n):
    return f"{id_of(n)[:8]}…{id_of(n)[-4:]}"


@pytest.fixture
def migrated(pipeline):
    pipeline.migrate()
    with pipeline.connect() as connection:
        yield connection


def add_atom(connection, n, data, label=None):
    connection.execute("""INSERT INTO atom (term_id, wallet_id, creator_id, data, label, last_event_block, last_event_log_index, last_event_transaction,
                          first_event_block, first_event_log_index, created_at, updated_at) VALUES (%s, 'w', 'c', %s, %s, 1, 1, 't', 1, 1, now(), now())""",
                       (id_of(n), data, label))


def add_triple(connection, n, subject, predicate, object_):
    connection.execute("""INSERT INTO triple (term_id, creator_id, subject_id, predicate_id, object_id, counter_term_id, last_event_block, last_event_log_index,
                          last_event_transaction, first_event_block, first_event_log_index, created_at, updated_at)
                          VALUES (%s, 'c', %s, %s, %s, %s, 1, 1, 't', 1, 1, now(), now())""",
                       (id_of(n), *map(id_of, (subject, predicate, object_, n + 1000))))
    connection.execute("INSERT INTO triple_term (term_id, counter_term_id) VALUES (%s, %s)", (id_of(n), id_of(n + 1000)))


def label_of(connection, n):
    return connection.execute("SELECT term_label(%s)", (id_of(n),)).fetchone()[0]


def test_labels_of_atoms(migrated):
    """The enriched one, else what the data says, else the id. Nothing raises, whatever the data is."""
    for n, (data, _) in enumerate(LABELS):
        add_atom(migrated, n, data)
    found = dict(migrated.execute("SELECT id, label FROM api.atom").fetchall())
    assert found == {id_of(n): said or short(n) for n, (_, said) in enumerate(LABELS)}
    migrated.execute("UPDATE atom SET label = 'Bob'")
    assert set(migrated.execute("SELECT label FROM api.atom").fetchall()) == {("Bob",)}
    migrated.execute("UPDATE atom SET label = ' '")
    assert dict(migrated.execute("SELECT id, label FROM api.atom").fetchall()) == found


def test_labels_of_triples(migrated):
    """Nested ones are written out, three deep; so is the other side of a triple."""
    for n, name in enumerate(("Ann", "knows", "Bob")):
        add_atom(migrated, n, name)
    add_triple(migrated, 10, 0, 1, 2)
    add_triple(migrated, 11, 10, 1, 1010)
    add_triple(migrated, 12, 11, 1, 99)
    add_triple(migrated, 13, 12, 1, 2)
    one = "Ann knows Bob"
    assert [label_of(migrated, n) for n in (10, 1010, 11, 12, 99)] == [
        one, f"not ({one})", f"({one}) knows not ({one})", f"(({one}) knows not ({one})) knows {short(99)}", short(99)]
    assert label_of(migrated, 13) == f"(({short(10)} knows {short(1010)}) knows {short(99)}) knows Bob"
    rows = migrated.execute("SELECT id, subject, predicate, object FROM api.triple ORDER BY id").fetchall()
    assert rows == [(id_of(10), "Ann", "knows", "Bob"), (id_of(11), one, "knows", f"not ({one})"),
                    (id_of(12), f"({one}) knows not ({one})", "knows", short(99)), (id_of(13), label_of(migrated, 12), "knows", "Bob")]


def test_a_label_of_triples_in_triples_ends(migrated):
    """Each of 30 triples has the one before as subject, predicate and object; the first has itself, which the chain does not allow."""
    for n in range(30):
        add_triple(migrated, n, *[max(n - 1, 0)] * 3)
    assert label_of(migrated, 29).count("…") == 27 and label_of(migrated, 0).count("…") == 27


def relations(connection):
    """{(schema, name): (comment, columns without one)} of tables and views"""
    return {(schema, name): (comment, columns) for schema, name, comment, columns in connection.execute(
        """SELECT n.nspname, c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''),
                  (SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND col_description(c.oid, a.attnum) IS NULL)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'""").fetchall()}


def test_everything_has_a_comment(migrated):
    """Tables and views of the contract with all their columns; whatever else there is says first that it is internal."""
    found = relations(migrated)
    contract = {("public", name) for name in oracle.TABLES} | {("api", name) for name in VIEWS}
    assert {name for schema, name in found if schema == "api"} == VIEWS
    assert {key: found[key] for key in contract if not found[key][0] or found[key][0].startswith("internal:") or found[key][1]} == {}
    assert {key for key in found.keys() - contract if not found[key][0].startswith("internal: ")} == set()


def test_a_publication_for_all_tables(migrated):
    """It has the tables, and nothing of schema api."""
    migrated.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    published = migrated.execute("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'everything'").fetchall()
    assert {name for _, name in published} >= {*oracle.TABLES} and {schema for schema, _ in published} == {"public"}


def as_role(connection, role):
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def test_the_role_that_reads(migrated):
    """intuition_read reads all, and writes nothing; a role that has rights on schema api alone reads that, labels included."""
    add_atom(migrated, 1, "Ann")
    migrated.execute("DROP ROLE IF EXISTS api_only; CREATE ROLE api_only; GRANT USAGE ON SCHEMA api TO api_only; GRANT SELECT ON ALL TABLES IN SCHEMA api TO api_only")
    try:
        for role, schemas in (("intuition_read", ("api", "public")), ("api_only", ("api",))):
            names = [name for name in relations(migrated) if name[0] in schemas]
            as_role(migrated, role)
            for name in names:
                migrated.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*name)))
            assert migrated.execute("SELECT label FROM api.atom").fetchall() == [("Ann",)]
            for statement in ("UPDATE public.atom SET label = ''", "DELETE FROM api.price", "UPDATE api.vault SET total_shares = 0"):
                with pytest.raises(errors.InsufficientPrivilege):
                    migrated.execute(statement)
            migrated.execute("RESET ROLE")
    finally:
        migrated.execute("RESET ROLE; DROP OWNED BY api_only; DROP ROLE api_only")


def test_a_role_that_may_make_neither_roles_nor_schemas(pipeline):
    """It migrates once schema api is there; another makes intuition_read later, and the owner grants."""
    url = pipeline.postgres_server.url(pipeline.database).replace("//postgres@", "//plain_owner@")
    with pipeline.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS plain_owner; CREATE ROLE plain_owner LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO plain_owner")
        aside = connection.execute("SELECT to_regrole('intuition_read') IS NOT NULL").fetchone()[0]   # another test's database has made it
        if aside:
            connection.execute("ALTER ROLE intuition_read RENAME TO set_aside")
        try:
            done = pipeline.run("ingest", "migrate", DATABASE_URL=url)
            assert done.returncode == 1 and "permission denied for database" in done.stderr, done.stderr
            connection.execute("CREATE SCHEMA api AUTHORIZATION plain_owner")
            done = pipeline.run("ingest", "migrate", DATABASE_URL=url)
            assert done.returncode == 0, done.stderr
            assert connection.execute("SELECT to_regrole('intuition_read')").fetchone() == (None,)
            connection.execute("CREATE ROLE intuition_read")
            as_role(connection, "plain_owner")
            connection.execute("SELECT api_grant()")
            connection.execute("RESET ROLE")
            as_role(connection, "intuition_read")
            assert connection.execute("SELECT count(*) FROM api.activity, position").fetchone() == (0,)
        finally:
            connection.execute("RESET ROLE; DROP OWNED BY plain_owner CASCADE; DROP ROLE plain_owner")
            connection.execute("DROP ROLE IF EXISTS intuition_read")
            if aside:
                connection.execute("ALTER ROLE set_aside RENAME TO intuition_read")


def test_two_pipelines_in_one_database(pipeline):
    """Each has its views in a schema named after its own, and they show its rows, whatever the session's search_path."""
    with pipeline.connect() as connection:
        connection.execute("CREATE SCHEMA second")
        for path in ("public", "second"):
            done = pipeline.run("ingest", "migrate", DATABASE_URL=f"{pipeline.postgres_server.url(pipeline.database)}?options=-csearch_path%3D{quote(path)}")
            assert done.returncode == 0, done.stderr
            connection.execute("SELECT set_config('search_path', %s, false)", (path,))
            add_atom(connection, 1, path)
            add_triple(connection, 2, 1, 1, 1)
        for path in ("", "public", "api", "second_api, second"):
            connection.execute("SELECT set_config('search_path', %s, false)", (path,))
            for schema, said in (("api", "public"), ("second_api", "second")):
                assert connection.execute(f"SELECT a.label, t.subject FROM {schema}.atom a, {schema}.triple t").fetchall() == [(said, said)]
        found = relations(connection)
        assert {name for schema, name in found if schema == "second_api"} == VIEWS
        assert {key for key, (comment, columns) in found.items() if key[0] == "second_api" and (columns or not comment)} == set()


def test_a_schema_api_of_others(pipeline):
    """What it holds stays as it is; a relation of a view's name stops the migration, which says so, and nothing is half done."""
    with pipeline.connect() as connection:
        connection.execute("CREATE SCHEMA api; CREATE TABLE api.todo (id int); CREATE TABLE api.price (id int)")
        done = pipeline.run("ingest", "migrate")
        assert done.returncode == 1 and '"price" already exists' in done.stderr, done.stderr
        assert {name for schema, name in relations(connection) if schema == "api"} == {"todo", "price"}
        connection.execute("DROP TABLE api.price")
        assert pipeline.run("ingest", "migrate").returncode == 0
        assert {name for schema, name in relations(connection) if schema == "api"} == {*VIEWS, "todo"}
