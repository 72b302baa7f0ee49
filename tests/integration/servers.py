"""Private redis-server and PostgreSQL on free loopback ports, in a temporary folder, gone with the test process.

    redis = RedisServer(folder); redis.start()          stop(), kill() and start() again keep port and data
    postgres = PostgresServer(folder); postgres.start()

Each server ends even when the tests are killed (tied), and is only ever ended through its own handle.
"""
import ctypes
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis

from ports import free_port
from waiting import until

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def tied(command, signal_number=signal.SIGKILL, user=None):
    """The command as one that gets this signal when the test process ends, however that ends. By setpriv: for a preexec_fn, or a user, Popen copies
    the whole test process first, some 40 ms once it holds the recordings."""
    of_user = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"] if user else []
    return ["/usr/bin/setpriv", "--pdeathsig", signal.Signals(signal_number).name.removeprefix("SIG"), *of_user, "--", *map(str, command)]


def die_with_parent():
    """The same for a preexec_fn, where the child has more to do than that."""
    parent = os.getpid()

    def in_child():
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(127)
    return in_child


def server_user():
    """PostgreSQL refuses root: who runs the servers then. None: who runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


def new_folder(fast=False):
    """A temporary folder that the servers' user can reach; its owner removes it. fast: in memory, where there is room for all that tests write."""
    memory = "/dev/shm"
    room = fast and os.path.isdir(memory) and shutil.disk_usage(memory).free > 6 << 30
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tests-", dir=memory if room else None))
    folder.chmod(0o711)
    return folder


class Server:
    label = "server"

    def __init__(self, folder):
        self.folder = Path(folder) / f"{self.label}-{free_port()}"
        self.folder.mkdir()
        self.user = server_user()
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.log = self.folder / "server.log"
        self.port = free_port()
        self.process = None

    def _popen(self, command, stdout):
        return subprocess.Popen(tied(command, self.death, self.user), cwd=self.folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                                stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self._popen(self.command(), stdout=log)
        until(self.answers, f"{self.label} on port {self.port} answers", alive=[self])
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def code(self):
        return self.process.poll()

    def said(self, what, lines=25):
        """What follows in the server's log each time it says so."""
        log = self.log.read_text(errors="replace").splitlines()
        return "\n".join("\n".join(log[i:i + lines]) for i, line in enumerate(log) if what in line)

    def tail(self):
        return f"--- {self.label} {self.log}\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _end(self, signal_number):
        if self.running():
            self.process.send_signal(signal_number)
        if self.process is not None:
            self.process.wait(timeout=120)

    def stop(self):
        """An orderly end."""
        self._end(self.orderly)

    def kill(self):
        """A crash: what is not on disk is lost."""
        self._end(self.death)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer(Server):
    label = "redis"
    orderly, death = signal.SIGTERM, signal.SIGKILL

    def __init__(self, folder, append_only=False, arguments=()):
        super().__init__(folder)
        self._clients = {}
        self.arguments = [*(("--appendonly", "yes", "--appendfsync", "always") if append_only else ("--appendonly", "no")), *arguments]

    def command(self):
        return [os.environ.get("REDIS_SERVER", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--databases", "1000", "--maxmemory-policy", "noeviction", "--daemonize", "no", *self.arguments]

    def client(self, db=0):
        if db not in self._clients:
            self._clients[db] = redis.Redis(host="127.0.0.1", port=self.port, db=db, decode_responses=True, encoding_errors="surrogateescape",
                                            protocol=2, socket_timeout=30)
        return self._clients[db]

    def url(self, db=0):
        return f"redis://127.0.0.1:{self.port}/{db}"

    def answers(self):
        try:
            return self.client().ping()
        except redis.RedisError:
            return False


def _postgres_programs():
    """$POSTGRES_BIN, or the newest that Debian has installed: it puts none of a server's programs into PATH."""
    folders = [os.environ["POSTGRES_BIN"]] if "POSTGRES_BIN" in os.environ else sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda folder: int(Path(folder).parent.name), reverse=True)
    for folder in folders:
        if Path(folder, "initdb").exists():
            return Path(folder)
    raise RuntimeError(f"no initdb in {folders or '/usr/lib/postgresql/*/bin'}")


class PostgresServer(Server):
    label = "postgres"
    orderly, death = signal.SIGINT, signal.SIGQUIT   # fast shutdown; immediate shutdown, which is a crash to recover from

    FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

    def __init__(self, folder, durable=False, settings=None, follows=None, shared=False, own_identity=False):
        """follows: a running server to be a standby of, with a copy of it as it is now. shared: by many tests, which copy
        its database `migrated` once one of them has made it. own_identity: a system identifier that no other server of the folder has."""
        super().__init__(folder)
        self.shared, self.migrated = shared, False
        self.programs = _postgres_programs()
        if follows and not (self.programs / "pg_basebackup").exists():
            pytest.skip(f"no pg_basebackup in {self.programs}")
        self.data = self.folder / "data"
        self.settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200", "shared_buffers": "128MB",
            "wal_level": "minimal", "max_wal_senders": "0", "timezone": "UTC", "log_line_prefix": "%m [%p] %d ",
            **({} if durable else self.FAST), **(settings or {})}
        if follows:
            self._make("pg_basebackup", "-D", self.data, "-h", "127.0.0.1", "-p", follows.port, "-U", "postgres", "-c", "fast", "-R", "--no-sync")
            return
        made = self.folder.parent / f"made-by-{self.programs.parent.name}"
        if own_identity or not made.exists():   # initdb takes a second of processor time, a copy of what it made a tenth
            self._make("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            if not own_identity:
                subprocess.run(["cp", "-a", self.data, f"{made}.new"], check=True)
                Path(f"{made}.new").rename(made)
        else:
            subprocess.run(["cp", "-a", made, self.data], check=True)

    def _make(self, program, *arguments):
        made = self._popen([str(self.programs / program), *arguments], stdout=subprocess.PIPE)
        output = made.communicate()[0]
        if made.returncode != 0:
            raise RuntimeError(f"{made.args} failed:\n{output.decode()}")

    def command(self):
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    def connect(self, database="postgres", **more):
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=10, **more)

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def answers(self):
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False

    def create_database(self, name, encoding="UTF8", template="template0"):
        with self.connect() as connection:   # from PostgreSQL 15 on the default copies by way of WAL: three times the processor
            copied = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
            connection.execute(f"CREATE DATABASE \"{name}\" TEMPLATE \"{template}\" ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' {copied}")

    def drop_database(self, name):
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
