"""Through PgBouncer in transaction mode (bookworm's 1.18) with DATABASE_PREPARED_STATEMENTS=false; migrations and ingest's verify go direct. A pool
smaller than the number of workers makes them wait, never stand still."""
import shutil
import signal

import psycopg
import pytest

import feeds
from servers import Server


class PgBouncer(Server):
    label = "pgbouncer"
    orderly, death = signal.SIGTERM, signal.SIGKILL

    def __init__(self, folder, postgres, pool_size):
        super().__init__(folder)
        self.config = self.folder / "pgbouncer.ini"
        self.config.write_text(f"""[databases]
* = user=postgres host=127.0.0.1 port={postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
admin_users = postgres
""")
        self.config.chmod(0o644)

    def command(self):
        return [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(self.config)]

    def url(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def totals(self):
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=pgbouncer", autocommit=True,
                             prepare_threshold=None, cursor_factory=psycopg.ClientCursor) as admin:
            return admin.execute("SHOW STATS_TOTALS").fetchall()

    def answers(self):
        try:
            return self.totals() is not None
        except psycopg.OperationalError:
            return False


@pytest.mark.parametrize("pool_size", [20, 2])
def test_the_law_holds_through_pgbouncer(make_pipeline, postgres_server, own_servers, server_folder, pool_size):
    messages = feeds.load("reorg.jsonl.xz") if pool_size == 20 else feeds.prefix(feeds.load("recording.jsonl.xz"), 3000)
    bouncer = PgBouncer(server_folder, postgres_server, pool_size)
    own_servers.append(bouncer.start())
    pipeline = make_pipeline(WORKERS=4).listen_to(messages).migrate()
    through = {"DATABASE_URL": bouncer.url(pipeline.database), "DATABASE_PREPARED_STATEMENTS": "false", "RUN_MIGRATIONS": "false"}
    pipeline.start(**through)
    pipeline.feed(messages)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
    for name in ("cascade", "analytics"):   # theirs need no temporary tables
        assert pipeline.run(name, "verify", **through).returncode == 0
        assert pipeline.run(name, "rebuild", **through).returncode == 0
    done = {row[0]: row for row in bouncer.totals()}
    assert done[pipeline.database][1] > 50, "the pipeline did not go through PgBouncer"
