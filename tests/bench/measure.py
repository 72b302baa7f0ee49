"""What the benchmark measures with: servers as the README says, a pipeline in its default configuration, processor time and memory
from /proc, the moment when all is drained, and COPY as the yardstick."""
import contextlib
import io
import os
import threading
import time
from collections import Counter
from pathlib import Path

from events import STREAMS
from programs import SERVICES, Pipeline, close_all
from servers import PostgresServer, RedisServer

TICKS = os.sysconf("SC_CLK_TCK")
POLL = 0.05

# PostgreSQL's own defaults in place of what servers.py sets for tests, and what the benchmark asks for.
POSTGRES = {"shared_buffers": "1GB", "max_wal_size": "8GB", "wal_level": "replica", "max_wal_senders": "10", "max_connections": "100"}
PROFILED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all", "pg_stat_statements.max": "5000"}
REDIS = ("--appendonly", "yes", "--appendfsync", "everysec")

YARDSTICK_INDEXES = ("term_id", "receiver", "sender", "creator", "subject_id", "predicate_id", "object_id", "counter_term_id",
                     "block_number", "block_timestamp")
COMMON = "address block_hash block_number network transaction_index block_timestamp created_at"
TABLES = {
    "atom_created_events": "creator atom_wallet term_id atom_data raw_data",
    "triple_created_events": "creator term_id subject_id predicate_id object_id counter_term_id",
    "deposited_events": "sender receiver term_id curve_id assets assets_after_fees shares total_shares vault_type",
    "redeemed_events": "sender receiver term_id curve_id assets fees shares total_shares vault_type",
    "share_price_changed_events": "term_id curve_id share_price total_assets total_shares vault_type",
}
TYPES = {"log_index": "BIGINT NOT NULL", "block_number": "BIGINT NOT NULL", "transaction_index": "BIGINT NOT NULL", "raw_data": "BYTEA",
         "block_timestamp": "TIMESTAMPTZ", "created_at": "TIMESTAMPTZ NOT NULL", "vault_type": "SMALLINT NOT NULL", "atom_data": "TEXT"}
COPY_BATCH, COPY_RUNS = 1000, 3
WAL_MEGABYTES, BUFFER_PAGES = 2048, 131072   # max_wal_size and shared_buffers leave room for them


# ---- processor time, memory

def _stat(pid):
    """-> the fields of /proc/PID/stat from the third (state) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def seconds_of(pid, children=False):
    """Processor seconds of a process; with children, of those that it has waited for, too."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15 if children else 13])) / TICKS


def children_of(pid):
    for other in os.listdir("/proc"):
        if other.isdigit():
            with contextlib.suppress(OSError):
                if int(_stat(other)[1]) == pid:
                    yield int(other)


def peak_megabytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM")


def machine_busy():
    """-> (busy, all) processor seconds of the whole machine"""
    times = [int(part) / TICKS for part in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


class Meter:
    """Processor seconds from its making to stop(), by program and server."""

    def __init__(self, rig):
        self.rig = rig
        self.machine, self.started = machine_busy(), time.monotonic()
        self.before = self._now()

    def _now(self):
        now = Counter({name: seconds_of(server.process.pid, children=True)
                       for name, server in (("redis", self.rig.redis), ("postgres", self.rig.postgres))})
        for child in children_of(self.rig.redis.process.pid):   # a rewrite of its file
            with contextlib.suppress(OSError):
                now["redis"] += seconds_of(child)
        for service in self.rig.services():
            now[service.name] += seconds_of(service.process.pid)
        applications = self.rig.backends()
        for child in children_of(self.rig.postgres.process.pid):
            with contextlib.suppress(OSError):
                seconds = seconds_of(child)
                now["postgres"] += seconds
                if applications.get(child) in SERVICES:
                    now[f"postgres for {applications[child]}"] += seconds
        return now

    def stop(self, events):
        """-> seconds, shares of the machine, and processor seconds per 100,000 events"""
        seconds = time.monotonic() - self.started
        now, (busy, all_) = self._now(), machine_busy()
        used = {name: now[name] - self.before[name] for name in now}
        own = sum(value for name, value in used.items() if " " not in name)
        total = max(all_ - self.machine[1], 1 / TICKS)
        return {
            "seconds": round(seconds, 3),
            "cpu_seconds_per_100000_events": {name: round(value * 100_000 / events, 3) for name, value in sorted(used.items())},
            "machine_idle": round(1 - (busy - self.machine[0]) / total, 3),
            "others_on_the_machine": round(max(0, busy - self.machine[0] - own) / total, 3),
        }


# ---- the rig: servers and a pipeline

class Rig:
    def __init__(self, options):
        self.settings = {"BATCH_TIMEOUT_MS": None, **options.settings}   # None: the default
        self.folder = options.folder
        self.redis = RedisServer(self.folder, arguments=REDIS)
        self.postgres = PostgresServer(self.folder, durable=True, settings={**POSTGRES, **(PROFILED if options.profile else {})})
        self.pipeline, self.settled = None, options.quick

    def __enter__(self):
        self.redis.start()
        self.postgres.start()
        self.pipeline = Pipeline(self.redis, self.postgres, self.folder, self.settings, redis_db=0)
        self.pipeline.streams = list(STREAMS.values())
        self.pipeline.create_database().migrate()
        self.client = self.redis.client()
        self.connection = self.pipeline.connect()
        self.last = {}
        return self

    def __exit__(self, kind, *_):
        self.client.close()
        self.connection.close()
        try:
            if kind is None:
                with contextlib.redirect_stdout(io.StringIO()):   # it shows the programs' last messages
                    close_all([self.pipeline])
        finally:
            for service in self.pipeline.services:
                if service.running():
                    service.process.kill()
                    service.process.wait()
            self.redis.close()
            self.postgres.close()

    def services(self):
        return [service for service in self.pipeline.services if service.running()]

    def backends(self):
        return dict(self.connection.execute("SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database()").fetchall())

    # ---- feeding

    def load(self, entries):
        """XADDs entries, a few hundred a round trip -> how many."""
        count, pipe = 0, self.client.pipeline(transaction=False)
        streams = []

        def send():
            for stream, id_ in zip(streams, pipe.execute()):
                self.last[stream] = id_
            streams.clear()
        for stream, payload in entries:
            pipe.xadd(stream, {"payload": payload})
            streams.append(stream)
            count += 1
            if len(streams) == 500:
                send()
        send()
        return count

    def _wait_for_rewrite(self):
        while any(self.client.info("persistence")[name] for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
            time.sleep(POLL)

    def settle(self):
        """What preparing has left to do is not to be measured: the rewrite of Redis's file that its growth calls for sooner or later,
        PostgreSQL's dirty pages. And what a server that has run for a while has already, and COPY finds, which comes later: WAL files to
        write into, and memory behind its buffers."""
        self._wait_for_rewrite()   # one that began on its own while the entries came in leaves the rest of them for another
        self.client.bgrewriteaof()
        self._wait_for_rewrite()
        if not self.settled:
            self.connection.execute("SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1048576)) FROM generate_series(1, %s)",
                                    (WAL_MEGABYTES,))
            self.connection.execute("CREATE UNLOGGED TABLE bench_buffers (page TEXT) WITH (fillfactor = 10)")
            self.connection.execute("INSERT INTO bench_buffers SELECT repeat('x', 600) FROM generate_series(1, %s)", (BUFFER_PAGES,))
            self.connection.execute("DROP TABLE bench_buffers")
        self.settled = True
        self.connection.execute("CHECKPOINT")

    # ---- drained

    @staticmethod
    def _is_read(groups, last):
        return isinstance(groups, list) and len(groups) == 1 and not groups[0]["pending"] and groups[0]["last-delivered-id"] == last

    def _drained_soon(self):
        """One cheap look at a stream that has not been drained yet: looking must not cost what is measured."""
        while self.undrained:
            stream = self.undrained[0]
            if not self._is_read(self.client.xinfo_groups(stream), self.last[stream]):
                return False
            self.undrained.pop(0)
        return True

    def _streams_drained(self):
        inner = (self.pipeline.vault_updates, self.pipeline.term_updates)
        pipe = self.client.pipeline(transaction=True)
        for stream in (*self.last, *inner):
            pipe.xinfo_groups(stream)
        for stream in inner:
            pipe.xrevrange(stream, count=1)
        answers = pipe.execute(raise_on_error=False)
        last = {**self.last, **{stream: rows[0][0] if rows else "0-0" for stream, rows in zip(inner, answers[-2:]) if isinstance(rows, list)}}
        return all(self._is_read(groups, last[stream]) for stream, groups in zip((*self.last, *inner), answers))

    def drained(self):
        """Every group has read and acked all, then: both outboxes are empty. PostgreSQL is only asked once Redis says so."""
        return self._streams_drained() and self.connection.execute(
            "SELECT NOT EXISTS (SELECT FROM vault_outbox) AND NOT EXISTS (SELECT FROM term_outbox)").fetchone()[0]

    def drain(self, poll=POLL):
        """-> seconds from the last ack of an input stream to the end"""
        self.undrained = list(self.last)
        read = None
        while not (self._drained_soon() and self.drained()):
            if read is None and not self.undrained:
                read = time.monotonic()
            for service in self.pipeline.services:
                if not service.running() and not service.ended:
                    raise AssertionError(f"{service.label} ended (code {service.code()})\n{service.tail()}")
            time.sleep(poll)
        return time.monotonic() - read if read else 0.0

    # ---- judging

    def verify(self):
        """The three verify, and no dead letters -> seconds of each."""
        seconds = {}
        for name in SERVICES:
            started = time.monotonic()
            done = self.pipeline.run(name, "verify")
            seconds[name] = round(time.monotonic() - started, 3)
            if done.returncode != 0:
                raise AssertionError(f"{name} verify exits {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        if self.client.exists(self.pipeline.dead_letter_stream):
            letter = {name: value for name, value in self.pipeline.dead_letters()[0].items() if name != "payload"}
            raise AssertionError(f"{self.client.xlen(self.pipeline.dead_letter_stream)} dead letters, the first: {letter}")
        return seconds

    def stored(self):
        """-> how many events stand in the event tables"""
        return self.connection.execute("SELECT " + " + ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)).fetchone()[0]


# ---- the yardstick

def yardstick(rig):
    """COPY of the rows that the pipeline has stored, into tables and indexes that are the same whatever ours are; the fastest of three."""
    columns = {table: ["transaction_hash", "log_index", *own.split(), *COMMON.split()] for table, own in TABLES.items()}
    batches = []
    for table, names in columns.items():
        query = f"COPY (SELECT {', '.join(names)} FROM {table} ORDER BY block_number, log_index) TO STDOUT"
        with rig.connection.cursor().copy(query) as copy:
            lines = b"".join(bytes(part) for part in copy).splitlines(keepends=True)
        parts = [b"".join(lines[start:start + COPY_BATCH]) for start in range(0, len(lines), COPY_BATCH)]
        batches += [((i + 0.5) / len(parts), table, part) for i, part in enumerate(parts)]
    batches.sort(key=lambda batch: batch[:2])   # all tables fill side by side
    rows = rig.stored()

    best = min((copied(rig, columns, batches) for _ in range(COPY_RUNS)), key=lambda run: run["seconds"])
    return {"rows": rows, "rows_per_second": round(rows / best["seconds"]), "seconds": round(best["seconds"], 3),
            "cpu_seconds_per_100000_rows": round(best["cpu"] * 100_000 / rows, 3)}


def copied(rig, columns, batches):
    rig.postgres.create_database("yardstick")
    with rig.postgres.connect("yardstick") as connection:
        for table, names in columns.items():
            types = (f'{name} {TYPES.get(name, "TEXT NOT NULL")}' for name in names)
            connection.execute(f"CREATE TABLE {table} ({', '.join(types)}, PRIMARY KEY (transaction_hash, log_index))")
            for name in YARDSTICK_INDEXES:
                if name in names:
                    connection.execute(f"CREATE INDEX ON {table} ({name})")
        rig.settle()
        backend = connection.info.backend_pid
        used, started = seconds_of(backend), time.monotonic()
        for _, table, part in batches:
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(part)
        run = {"seconds": time.monotonic() - started, "cpu": seconds_of(backend) - used}
    rig.postgres.drop_database("yardstick")
    return run


# ---- where the time goes

class Profile(threading.Thread):
    """Samples what each program's connections do or wait for; counts time by statement. It costs a few per cent itself."""

    def __init__(self, rig):
        super().__init__(daemon=True)
        self.connection, self.samples, self.rounds, self.end = rig.pipeline.connect(), Counter(), 0, threading.Event()
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self.connection.execute("SELECT pg_stat_statements_reset()")
        self.start()

    def run(self):
        query = """SELECT application_name, CASE WHEN wait_event_type IS NULL THEN 'runs' ELSE wait_event_type || ':' || wait_event END, count(*)
                   FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid() GROUP BY 1, 2"""
        while not self.end.wait(0.02):
            self.rounds += 1
            for application, event, count in self.connection.execute(query).fetchall():
                self.samples[application, event] += count

    def stop(self, events):
        self.end.set()
        self.join()
        statements = self.connection.execute(
            """SELECT round((total_exec_time * 100 / %s)::numeric, 3)::float, calls, rows, shared_blks_hit, shared_blks_dirtied, wal_bytes::bigint,
                      toplevel, regexp_replace(query, '\\s+', ' ', 'g')
               FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
               ORDER BY total_exec_time DESC LIMIT 60""", (events,)).fetchall()
        names = ("seconds_per_100000_events", "calls", "rows", "blocks_hit", "blocks_dirtied", "wal_bytes", "toplevel", "query")
        self.connection.close()
        return {"sessions": [{"program": program, "event": event, "average": round(count / max(self.rounds, 1), 3)}
                             for (program, event), count in self.samples.most_common()],
                "statements": [dict(zip(names, row)) for row in statements]}
