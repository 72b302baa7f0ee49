"""The built programs: the three services and their commands, run on servers and a database of the test's own.

BUILD_DIR says where they are built (default: build in the project's folder). Each process writes its stderr to a file of its own; a
sanitizer's report in any of them, or an exit code nobody asked for, fails the test that started it.
"""
import itertools
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import redis

import feeds
import oracle
from ports import free_port
from servers import tied
from waiting import PATIENCE, until

PROJECT = Path(__file__).resolve().parents[2]
BUILD_DIR = PROJECT / os.environ.get("BUILD_DIR", "build")
SERVICES = ("ingest", "cascade", "analytics")

_SANITIZER = re.compile(r"(Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer|runtime error:")
_SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "exitcode=98:halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "exitcode=97",
}
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", *_SANITIZER_OPTIONS)


def executable(name, settings=()):
    """FAULTS among the settings: the program whose calls can be made to fail (tests/faults)."""
    path = BUILD_DIR / "tests" / f"{name}_faults" if "FAULTS" in settings else BUILD_DIR / name / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built; BUILD_DIR says where to look")
    return str(path)


def clean_environment(settings):
    """Nothing of the caller's environment but what a process needs; a setting of None is left out."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**_SANITIZER_OPTIONS, **kept, **{k: str(v) for k, v in settings.items() if v is not None}}


def fail_on_sanitizer(label, text):
    if _SANITIZER.search(text):
        raise AssertionError(f"{label}: a sanitizer reports\n{text[-8000:]}")


class Service:
    """One running service, or a command that runs until it is told to end."""

    def __init__(self, name, label, settings, folder, arguments=()):
        self.name, self.label = name, label
        self.port = int(settings["HTTP_PORT"])
        self.err = Path(folder) / f"{label}.stderr"
        self.out = Path(folder) / f"{label}.stdout"
        self.ended = None   # "stopped" or "killed" once the test ended it; whatever else ends it is a failure
        with open(self.err, "ab") as err, open(self.out, "ab") as out:
            self.process = subprocess.Popen(tied([executable(name, settings), *arguments]), env=clean_environment(settings),
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder)

    def running(self):
        return self.process.poll() is None

    def code(self):
        return self.process.poll()

    def messages(self):
        return self.err.read_text(errors="replace")

    def tail(self, lines=25):
        return f"--- {self.label}, last of its messages:\n" + "\n".join(self.messages().splitlines()[-lines:])

    def says(self, pattern):
        """Waits for a message (a regular expression, any case)."""
        expression = re.compile(pattern, re.IGNORECASE)
        until(lambda: expression.search(self.messages()), f"{self.label} says {pattern!r}", alive=[self])

    def signal(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """Until SIGCONT. Each thread stops in its own time: afterwards none of them does anything any more."""
        def states():
            return {re.search(r"^State:\s*(\w)", task.read_text(), re.MULTILINE)[1] for task in Path(f"/proc/{self.process.pid}/task").glob("*/status")}
        self.signal(signal.SIGSTOP)
        until(lambda: states() == {"T"}, f"{self.label} stands still", pause=0.005)

    def wait(self):
        self.process.wait(timeout=PATIENCE)
        return self.process.returncode

    def _minds_signals(self):
        """Before its main() blocks SIGTERM, to wait for it, a process simply dies of it."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except ProcessLookupError:
            return True
        return not self.running() or int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1

    def ask_to_stop(self):
        if self.running():
            until(self._minds_signals, f"{self.label} minds signals", pause=0.005)
            self.signal(signal.SIGTERM)

    def stopped(self):
        """After SIGTERM: it must end in exit 0."""
        self.ended = self.ended or "stopped"
        code = self.wait()
        assert code == 0, f"{self.label} exits {code} after SIGTERM\n{self.tail()}"

    def stop(self):
        self.ask_to_stop()
        self.stopped()

    def kill(self):
        self.ended = "killed"
        self.signal(signal.SIGKILL)
        self.wait()

    def may_end(self):
        """From now on it may go on or end, with whatever code."""
        self.ended = "killed"

    # ---- HTTP

    def get(self, path):
        """-> (status, text)"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    def status_of(self, path):
        try:
            return self.get(path)[0]
        except OSError:
            return None

    def ready(self):
        until(lambda: self.status_of("/readyz") == 200, f"{self.label} is ready", alive=[self])
        return self


class Pipeline:
    """One pipeline on its own Redis database and PostgreSQL database: starts services and commands, feeds, compares."""

    _numbers = itertools.count(1)

    def __init__(self, redis_server, postgres_server, folder, settings=None, redis_db=None, database=None):
        self.number = next(self._numbers)
        self.redis_server, self.postgres_server, self.folder = redis_server, postgres_server, Path(folder)
        self.redis_db = self.number % 1000 if redis_db is None else redis_db
        self._database = database or f"test_{self.number}"
        self.settings = settings or {}
        self.streams = ["rindexer_producer"]
        self.services, self.entries, self.outputs = [], [], []
        self.untouched = False   # the database is as it was created
        self.later = False       # it is created when `database` is first read
        self._labels = itertools.count(1)

    # ---- environment

    @property
    def database(self):
        if self.later:
            self.later = False
            self.postgres_server.create_database(self._database)
        return self._database

    @database.setter
    def database(self, name):
        self._database, self.later = name, False

    def create_database(self, later=False, **how):
        self.later, self.untouched = later, not how
        if not later:
            self.postgres_server.create_database(self._database, **how)
        return self

    def environment(self, settings=None):
        return {"REDIS_URL": self.redis_server.url(self.redis_db), "DATABASE_URL": self.postgres_server.url(self.database),
                "REDIS_STREAMS": ",".join(self.streams), "BATCH_TIMEOUT_MS": 200, "HTTP_PORT": free_port(), "HTTP_BIND": "127.0.0.1",
                **self.settings, **(settings or {})}

    def setting(self, name, default):
        value = self.settings.get(name, default)
        suffix = self.settings.get("CONSUMER_GROUP_SUFFIX")
        return f"{value}-{suffix}" if suffix else value

    @property
    def group(self):
        return self.setting("CONSUMER_GROUP", "postgres-sync")

    @property
    def vault_updates(self):
        return self.setting("CASCADE_STREAM_NAME", "vault_updates")

    @property
    def term_updates(self):
        return self.setting("ANALYTICS_STREAM_NAME", "term_updates")

    @property
    def dead_letter_stream(self):
        return self.setting("DLQ_STREAM_NAME", "dead_letters")

    def redis(self):
        return self.redis_server.client(self.redis_db)

    def connect(self):
        """Without JIT, as the programs: it takes seconds for a function of reorgs."""
        self.untouched = False
        return self.postgres_server.connect(self.database, options="-c jit=off")

    # ---- processes

    def start(self, *names, **settings):
        """Starts services; returns the one, or a list."""
        if not names and self._may_copy(settings):
            self._copy_migrated()   # ingest does it when it starts; a test of that starts it by name
        started, self.untouched = [], False
        for name in names or SERVICES:
            label = f"p{self.number}-{next(self._labels)}-{name}"
            own = {"CONSUMER_NAME": label, "HTTP_PORT": free_port(), **settings}
            started.append(Service(name, label, self.environment(own), self.folder))
        self.services += started
        return started[0] if len(names) == 1 else started

    def start_two(self, rng, **settings):
        """Two replicas, each in its own way. With CLAIM_IDLE_MS=20 everybody takes what anybody else is at, and each entry is done by all at once:
        two workers each, or a run is mostly that."""
        for _ in range(2):
            claim = rng.choice([20, 1000])
            self.start(**{"WORKERS": 2 if claim == 20 else 4, "BATCH_SIZE": rng.choice([1, 3, 10, 20]),
                          "BATCH_MAX_EVENTS": rng.choice([1, 20, 2000]), "CLAIM_IDLE_MS": claim, **settings})

    def watch(self, name, **settings):
        """`status --watch`, which ends with the test."""
        watching = Service(name, f"p{self.number}-{next(self._labels)}-{name}-watch", self.environment(settings), self.folder, ("status", "--watch"))
        watching.may_end()
        self.services.append(watching)
        return watching

    def run(self, name, *arguments, stdin=None, **settings):
        """Runs a command to its end -> CompletedProcess with text."""
        self.untouched = False
        done = subprocess.run(tied([executable(name, settings), *arguments]), env=clean_environment(self.environment(settings)), capture_output=True,
                              text=True, errors="replace", timeout=PATIENCE, cwd=self.folder, stdin=stdin or subprocess.DEVNULL)
        shown = f"$ {name} {' '.join(arguments)} -> {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        self.outputs.append(shown)
        fail_on_sanitizer(shown.split("\n")[0], done.stderr)
        return done

    def migrate(self, **settings):
        """As `ingest migrate` leaves the database."""
        if self._may_copy(settings):
            return self._copy_migrated()
        done = self.run("ingest", "migrate", **settings)
        assert done.returncode == 0, done.stderr
        return self

    def _may_copy(self, settings):
        """On a server that many tests share `ingest migrate` runs once; what it made is copied to databases in which nothing was done yet."""
        return self.postgres_server.shared and self.untouched and not any(
            name.startswith(("DATABASE_URL", "RUN_MIGRATIONS")) for name in {**self.settings, **settings})

    def _copy_migrated(self):
        server = self.postgres_server
        if not server.migrated:
            server.create_database("migrated")
            self.migrate(DATABASE_URL=server.url("migrated"))
            server.migrated = True
        if not self.later:
            server.drop_database(self._database)
        self.later = False
        server.create_database(self._database, template="migrated")
        with self.connect() as connection:
            connection.execute("UPDATE pipeline_identity SET id = gen_random_uuid()")
        return self

    def alive(self):
        """What must be running."""
        return [service for service in self.services if not service.ended]

    def stop(self, *services):
        services = services or self.alive()
        for service in services:
            service.ask_to_stop()
        for service in services:
            service.stopped()

    def close(self):
        """Ends everything; raises what no test may overlook: sanitizer reports, exit codes nobody asked for."""
        problems = []
        for service in self.services:
            if service.ended != "killed":
                service.ask_to_stop()
        for service in self.services:
            try:
                if service.ended != "killed":
                    service.stopped()
                elif service.running():
                    service.kill()
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                problems.append(str(problem))
                service.process.kill()
                service.process.wait()
            try:
                fail_on_sanitizer(service.label, service.messages())
            except AssertionError as report:
                problems.append(str(report))
        for service in self.services:
            print(service.tail())
        for shown in self.outputs[-3:]:
            print(shown)
        if problems:
            raise AssertionError("\n".join(problems))

    # ---- feeding

    def listen_to(self, messages):
        """REDIS_STREAMS of what is started from now on: the streams of these messages."""
        self.streams = feeds.streams_of(messages)
        return self

    def feed(self, messages):
        self.entries += feeds.write(self.redis(), messages)

    # ---- draining

    def drained(self, stages=SERVICES):
        """A condition for until(): all groups of these stages have read and acked all, and no outbox holds a row for them.

        Redis is looked at in one transaction, then PostgreSQL in one statement. Lag is counted from ids: the field is wrong at times."""
        streams = list(self.streams) if "ingest" in stages else []
        streams += [self.vault_updates] if "cascade" in stages else []
        streams += [self.term_updates] if "analytics" in stages else []
        outboxes = [t for t, stage in (("vault_outbox", "cascade"), ("term_outbox", "analytics")) if stage in stages]
        state = []

        def condition():
            state[:] = []
            try:
                self._look_at_streams(streams, state)
                if not state:
                    self._look_at_outboxes(outboxes, state)
            except (redis.RedisError, psycopg.Error, OSError) as problem:
                state.append(str(problem))
            return not state
        condition.why = lambda: "; ".join(state)
        return condition

    def _look_at_streams(self, streams, state):
        pipe = self.redis().pipeline(transaction=True)
        for stream in streams:
            pipe.xinfo_groups(stream)
            pipe.xrevrange(stream, count=1)
        answers = pipe.execute(raise_on_error=False)
        for stream, groups, newest in zip(streams, answers[::2], answers[1::2]):
            own = [g for g in groups if g["name"] == self.group] if isinstance(groups, list) else []
            if not own:
                state.append(f"{stream} has no group {self.group}")
                continue
            last, read = newest[0][0] if newest else "0-0", own[0]["last-delivered-id"]
            if oracle.position_of(read) < oracle.position_of(last):
                state.append(f"{stream} is read up to {read}, its last is {last}")
            if own[0]["pending"]:
                state.append(f"{stream} has {own[0]['pending']} pending")

    def _look_at_outboxes(self, outboxes, state):
        if not outboxes:
            return
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in outboxes)
        with self.connect() as connection:
            for table, count in zip(outboxes, connection.execute(f"SELECT {counts}").fetchone()):
                if count:
                    state.append(f"{table} has {count} rows")

    def drain(self, stages=SERVICES):
        until(self.drained(stages), "everything is drained", alive=self.alive())
        return self

    # ---- judging

    def dead_letters(self):
        """-> [{field: value}] with the dead letter's own id under 'dead_letter_id'"""
        return [{"dead_letter_id": id_, **fields} for id_, fields in self.redis().xrange(self.dead_letter_stream)]

    def differences(self, **how):
        with self.connect() as connection:
            return oracle.compare(connection, self.entries, **how)

    def deadlocks(self):
        with self.connect() as connection:
            return connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()[0]

    def assert_exact(self, **how):
        """The law: zero rows differ. And nothing went to the dead letters, nothing deadlocked on the way."""
        differences = self.differences(**how)
        assert not differences, oracle.report(differences)
        letters = self.dead_letters()
        assert not letters, f"{len(letters)} dead letters, the first: {letters[0]}"
        assert self.deadlocks() == 0, self.postgres_server.said("deadlock detected")

    def assert_settled(self):
        """Judged once more, all blocks at once instead of those that each entry named: nothing moves, and each row is away for the same reason."""
        with self.connect() as connection, connection.transaction(force_rollback=True):
            away = "SELECT source_table, transaction_hash, log_index, block_hash, reason, notice FROM orphaned_events ORDER BY 1, 2, 3, 4"
            connection.execute("SELECT event_lock(true)")
            before = connection.execute(away).fetchall()
            moved = connection.execute("""SELECT event_settle(array_agg(block_number), array_agg(block_hash))
                                          FROM (SELECT DISTINCT block_number, block_hash FROM event_sighting) b""").fetchone()[0]
            assert not moved and connection.execute(away).fetchall() == before, f"{moved} rows move"

    def assert_verified(self):
        for name in SERVICES:
            done = self.run(name, "verify")
            assert done.returncode == 0, f"{name} verify exits {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def close_all(pipelines):
    """Closes pipelines and removes what they had on the servers; then raises what was wrong with them."""
    problems = []
    for pipeline in pipelines:
        try:
            pipeline.close()
        except AssertionError as problem:
            problems.append(str(problem))
    for pipeline in pipelines:
        if pipeline.redis_server.running():
            pipeline.redis().flushdb()
        if pipeline.postgres_server.running():
            pipeline.postgres_server.drop_database(pipeline._database)
    assert not problems, "\n".join(problems)
