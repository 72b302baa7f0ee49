"""The benchmark; `run` beside this file says how to start it, README.md what it measures."""
import argparse
import asyncio
import itertools
import json
import math
import multiprocessing
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

os.environ.setdefault("TEST_PATIENCE", "7200")   # a verify of a million events takes its time
sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

import programs   # noqa: E402
from events import FIRST_BLOCK, MIXES, PER_BLOCK, STREAMS, Chain, Term, blocks, entry, notices, packed   # noqa: E402
from measure import POLL, Meter, Profile, Rig, peak_megabytes, seconds_of, yardstick   # noqa: E402
from oracle import position_of   # noqa: E402
from programs import SERVICES, executable   # noqa: E402
from servers import new_folder   # noqa: E402

# What a full run measures, and what --quick does.
FULL = {"events": 200_000, "runs": 3, "pairs": 7, "per_message": (1, 10, 100), "long": 1_000_000, "rates": (100, 1000, 5000, 15_000), "seconds": 20, "vault": (1000, 1_000_000),
        "deposits": 3000, "pair": (10, 50_000), "triples": 1000, "rounds": 5, "verified": 1_000_000, "past": 10_000, "reached": 100_000, "viewers": 200, "viewed": 60}
QUICK = {"events": 3000, "runs": 1, "pairs": 1, "per_message": (10,), "long": 6000, "rates": (500,), "seconds": 1, "vault": (10, 1000),
         "deposits": 100, "pair": (10, 500), "triples": 50, "rounds": 1, "verified": 3000, "past": 100, "reached": 1000, "viewers": 200, "viewed": 3}
PROBES_PER_SECOND = 50
WINDOW = 64   # probes looked for at once


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def mixed(options, events, mix="hot"):
    return itertools.islice(Chain(options.seed, mix=mix).mixed(), events)


def with_build(folder, measure):
    """What measure() returns where the programs are those of this build."""
    ours, programs.BUILD_DIR = programs.BUILD_DIR, Path(folder).resolve()
    try:
        return measure()
    finally:
        programs.BUILD_DIR = ours


def against(options, measure):
    """measure(copies) of our build and, with --against, right before it of the other one -> ours, with the other one's figures that
    compare."""
    if not options.against:
        return measure(True)
    other = with_build(options.against, lambda: measure(False))
    ours = measure(True)
    ours["other"] = {name: other[name] for name in ("events_per_second", "end_seconds", "peak_megabytes", "p50_ms", "p99_ms") if name in other}
    if "events_per_second" in ours:
        ours["new_to_old"] = rounded(ours["events_per_second"] / other["events_per_second"])
        say(f"new / old: {ours['new_to_old']}")
    return ours


def rounded(value):
    return float(f"{value:.4g}")


# ---- throughput

def add_past(options, rig, what, count):
    """What happened before the flood, and reaches all of its blocks: reorg notices, or the chain's verdicts on its first blocks."""
    if what == "notices":
        rig.load(notices(FIRST_BLOCK - 5, count // len(STREAMS)))
        rig.pipeline.start()
        rig.drain()
        rig.pipeline.stop()
    if what == "verdicts":
        hashes = dict(re.findall(r'"block_hash":"(\w+)","block_number":(\d+)', "".join(event.json for event in mixed(options, count * PER_BLOCK))))
        with rig.connection.cursor().copy("COPY chain_block FROM STDIN") as copy:
            for hash_, number in hashes.items():
                copy.write_row((number, hash_, True, 1))


def run_through(options, events, per_message, replicas=1, past="", count=0, copies=True, mix="hot"):
    """Preloads, starts everything at once, waits until all is drained; then verify, and (copies) the yardstick. past: add_past."""
    with Rig(options) as rig:
        add_past(options, rig, past, count)
        messages = rig.load(packed(mixed(options, events, mix), per_message))
        rig.settle()
        profile = Profile(rig) if options.profile else None
        meter = Meter(rig)
        for _ in range(replicas):
            rig.pipeline.start()
        end = rig.drain()
        result = {"mix": mix, "end_seconds": rounded(end), "events": events, "per_message": per_message, "messages": messages, "replicas": replicas, "past": f"{count} {past}" if past else "-", **meter.stop(events)}
        if profile:
            result["profile"] = profile.stop(events)
        result["events_per_second"] = round(events / result["seconds"])
        result["peak_megabytes"] = {name: max(peak_megabytes(s.process.pid) for s in rig.services() if s.name == name) for name in SERVICES}
        result["deadlocks"] = rig.pipeline.deadlocks()
        if rig.stored() != events:
            raise AssertionError(f"{rig.stored()} of {events} events are stored")
        result["verify_seconds"] = rig.verify()
        rig.pipeline.stop()
        shown = (f"{events} events, mix {mix}, {per_message} a message, {replicas} replica(s): {result['events_per_second']} events/s, "
                 f"end {result['end_seconds']} s, peak MB {result['peak_megabytes']}")
        if copies:
            result["copy"] = yardstick(rig)
            result["ratio"] = rounded(result["events_per_second"] / result["copy"]["rows_per_second"])
            shown += f", COPY {result['copy']['rows_per_second']} rows/s, ratio {result['ratio']}"
        say(shown)
        return result


def middle_runs(options, events, variants, times):
    """Runs each of the variants (arguments of run_through) in turns -> of each the run whose ratio is the middle one, with all its ratios: the
    machine's speed may change from one minute to the next. With --against it is the pair whose ratio of new to old is the middle one."""
    runs = [[] for _ in variants]
    for _ in range(times):
        for found, (per_message, more) in zip(runs, variants):
            found.append(against(options, lambda copies: run_through(options, events, per_message, copies=copies, **more)))
    middle = [sorted(found, key=lambda run: run.get("new_to_old", run["ratio"]))[len(found) // 2] for found in runs]
    return [{**run, "ratios": [one["ratio"] for one in found], "new_to_olds": [one["new_to_old"] for one in found if "new_to_old" in one]}
            for run, found in zip(middle, runs)]


def throughput(options):
    sizes = options.per_message or options.form["per_message"]
    return middle_runs(options, options.form["events"], [(size, {"mix": mix}) for mix in options.mixes for size in sizes], options.form["runs"])


def long(options):
    return middle_runs(options, options.form["long"], [(10, {"mix": mix}) for mix in options.mixes], options.times or 1)


def replicas(options):
    """Runs of one replica and of two right behind each other, now these first and now those, for what counts is how fast they are together:
    the pair whose ratio is the middle one, and the ratios of all."""
    pairs = []
    for i in range(options.form["pairs"]):
        runs = {count: run_through(options, options.form["events"], 10, count, copies=False) for count in ((1, 2), (2, 1))[i % 2]}
        pairs.append({"one": runs[1], "two": runs[2], "ratio": rounded(runs[2]["events_per_second"] / runs[1]["events_per_second"])})
        say(f"two replicas / one: {pairs[-1]['ratio']}")
    return [{**sorted(pairs, key=lambda pair: pair["ratio"])[len(pairs) // 2], "ratios": [pair["ratio"] for pair in pairs]}]


def reorg(options):
    """Behind one notice, behind many, behind many verdicts: the ratios of the yardstick compare. And one notice that reaches many events."""
    many = options.form["past"]
    pasts = [("", 0), *([] if options.quick else [("notices", len(STREAMS))]), ("notices", many), ("verdicts", many)]
    found = middle_runs(options, options.form["events"], [(10, {"past": past, "count": count}) for past, count in pasts], 1)
    for one in found[1:]:
        one["cost"] = rounded(found[0]["ratio"] / one["ratio"])
        say(f"{one['past']}: {one['cost']} of the cost without")
    return [*found, reached(options)]


class Beat(threading.Thread):
    """While something else goes on: an entry each 50 ms, and how long until it is acked -> seconds of each, by stop()."""

    def __init__(self, rig, stream, next_entry):
        super().__init__(daemon=True)
        self.rig, self.stream, self.next_entry = rig, stream, next_entry
        self.client, self.end, self.seconds = rig.redis.client(), threading.Event(), []
        self.start()

    def is_acked(self, id_):
        (group,) = self.client.xinfo_groups(self.stream)
        return (position_of(group["last-delivered-id"]) >= position_of(id_)
                and not self.client.xpending_range(self.stream, group["name"], id_, id_, 1))

    def run(self):
        while not self.end.wait(0.05):
            began = time.monotonic()
            last = self.client.xadd(self.stream, self.next_entry())
            while not self.is_acked(last):
                time.sleep(0.002)
            self.seconds.append(time.monotonic() - began)

    def stop(self):
        self.end.set()
        self.join()
        return sorted(self.seconds)


def reached(options):
    """A notice a stream, above an earlier part of the flood: until the last is acked. Beside it the later stages' delay on a vault that is not moved."""
    events = options.form["reached"]
    with Rig(options) as rig:
        rig.load(packed(mixed(options, events), 100))
        still = Chain(options.seed, 1)
        still.block = 1   # below the fork
        still.transaction()
        term = still.new_term(0)
        price = still.priced(term, 1)
        rig.load([entry(price.kind, [price])])
        rig.pipeline.start()
        rig.drain()
        rig.settle()
        beats = [Beat(rig, rig.pipeline.vault_updates, lambda: {"term_id": "0x" + term.id, "curve_id": 1, "reason": "bench", "block_number": 1}),
                 Beat(rig, rig.pipeline.term_updates, lambda: {"term_id": "0x" + term.id, "reason": "bench", "block_number": 1})]
        began = time.monotonic()
        rig.load(notices(FIRST_BLOCK))
        rig.undrained = list(rig.last)
        while not rig._drained_soon():
            time.sleep(POLL)
        handled = time.monotonic() - began
        delays = [beat.stop() for beat in beats]
        rig.drain()
        moved = events - rig.stored() + 1
        rig.verify()
        result = {"events": events, "moved": moved, "handled_seconds": rounded(handled),
                  "beats": sum(map(len, delays)), "p99_ms": rounded(max(1000 * found[math.ceil(0.99 * len(found)) - 1] for found in delays))}
        if moved != events:
            raise AssertionError(f"{moved} of {events} events are orphaned")
        say(f"notices that reach {events} events: {result}")
        return result


# ---- delay

def feed(url, plan, pipe):
    """In a process of its own: writes each (due second, entries) when it is due; says when it sent what, and how long all took."""
    import redis
    client, sent, started = redis.Redis.from_url(url), [], time.monotonic()
    position = 0
    while position < len(plan):
        now = time.monotonic() - started
        due = position
        while due < len(plan) and plan[due][0] <= now:
            due += 1
        if due == position:
            time.sleep(max(0.0005, plan[position][0] - now))
            continue
        batch = client.pipeline(transaction=False)
        streams = []
        for _, entries in plan[position:due]:
            for stream, payload in entries:
                batch.xadd(stream, {"payload": payload})
                streams.append(stream)
        sent += [time.monotonic()] * (due - position)
        last = dict(zip(streams, batch.execute()))
        pipe.send(("last", {stream: id_.decode() for stream, id_ in last.items()}))
        position = due
    pipe.send(("sent", sent, time.monotonic() - started))


def probes_of(chain, count):
    """Triples, and for each one price of its vault: that makes a new row of triple_vault, once."""
    parts = tuple(chain.new_term(0) for _ in range(3))
    terms = []
    created = []
    for _ in range(count):
        chain.transaction()
        terms.append(chain.new_term(1, parts))
        created.append(chain.triple_created(terms[-1]))
    prices = []
    for term in terms:
        chain.transaction()
        prices.append(chain.priced(term, 1))
    return ["0x" + term.id for term in terms], created, prices


def plan_of(options, rate, seconds, prices):
    """-> [(second, entries, probe or None)]: blocks at the rate, and probes evenly between them, which count as events."""
    plan = [(i * seconds / len(prices), [entry(event.kind, [event])], i) for i, event in enumerate(prices)]
    events, second = 0, 0.0
    count = int(rate * seconds) - len(prices)
    for group in blocks(mixed(options, count)):
        plan.append((second, group, None))
        events += PER_BLOCK
        second = events / count * seconds
    return sorted(plan, key=lambda step: step[0])


def watch(rig, terms, running):
    """Looks for the probes' rows in triple_vault all the time -> when each was first seen."""
    seen, first = {}, 0
    waiting = list(terms)
    while waiting:
        ask = waiting[first:first + WINDOW]
        rows = rig.connection.execute("SELECT term_id FROM triple_vault WHERE term_id = ANY (%s)", (ask,)).fetchall()
        now = time.monotonic()
        for (term,) in rows:
            seen[term] = now
        if rows:
            found = {term for term, in rows}
            waiting = [term for term in waiting if term not in found]
        running()
        time.sleep(0.002)
    return [seen[term] for term in terms]


def delay_at(options, rate):
    seconds = options.form["seconds"]
    with Rig(options) as rig:
        terms, created, prices = probes_of(Chain(options.seed, 1), int(min(PROBES_PER_SECOND, rate / 10) * seconds))
        rig.load(packed(created, 100))
        rig.pipeline.start()
        rig.drain()
        rig.settle()
        plan = plan_of(options, rate, seconds, prices)
        ours, theirs = multiprocessing.Pipe()
        feeder = multiprocessing.Process(target=feed, args=(rig.redis.url(0), [step[:2] for step in plan], theirs), daemon=True)
        meter, sent = Meter(rig), []

        def running():
            while ours.poll():
                what, *values = ours.recv()
                if what == "last":
                    rig.last.update(values[0])
                else:
                    sent[:] = values
            if not sent and not feeder.is_alive() and not ours.poll():
                raise AssertionError("the feeder ended early")
        feeder.start()
        seen = watch(rig, terms, running)
        while not sent:
            running()
            time.sleep(0.01)
        feeder.join()
        rig.drain()
        events = rig.stored() - len(terms)
        result = {"rate": rate, "events": events, "fed_per_second": round(events / sent[1]), **meter.stop(events)}
        at = {step[2]: time_ for step, time_ in zip(plan, sent[0]) if step[2] is not None}
        warm = min(at.values()) + min(2, seconds / 5)   # each worker's first batch opens its session and plans its statements
        first = max(1000 * (seen[i] - at[i]) for i in at if at[i] < warm)
        delays = sorted(1000 * (seen[i] - at[i]) for i in at if at[i] >= warm)
        result |= {"probes": len(delays), "first_ms": rounded(first), "p50_ms": rounded(statistics.median(delays)), "max_ms": rounded(delays[-1]),
                   "p99_ms": rounded(delays[math.ceil(0.99 * len(delays)) - 1])}
        rig.verify()
        say(f"{rate} events/s: p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms, max {result['max_ms']} ms, in the first moment {result['first_ms']} ms")
        return result


def delay(options):
    return [against(options, lambda copies: delay_at(options, rate)) for rate in options.rates or options.form["rates"]]


# ---- growth

def deposits(chain, accounts, term):
    for account in accounts:
        chain.transaction()
        yield chain.deposited(account, term, 1)


def triples(chain, count, predicate, object_):
    for _ in range(count):
        chain.transaction()
        term = chain.new_term(1, (chain.new_term(0), predicate, object_))
        yield chain.triple_created(term)
        yield chain.priced(term, 1)


def timed(rig, entries, events):
    entries = list(entries)
    rig.settle()
    meter = Meter(rig)
    rig.load(entries)
    rig.drain(poll=0.005)
    return meter.stop(events)


def compared(name, sizes, results):
    """The same work on a small and on a large thing, in turns: medians and their ratio."""
    result = {"what": name, "sizes": list(sizes), "seconds": [], "cpu_seconds": []}
    for runs in results:
        result["seconds"].append(rounded(statistics.median(run["seconds"] for run in runs)))
        result["cpu_seconds"].append(rounded(statistics.median(
            sum(value for part, value in run["cpu_seconds_per_100000_events"].items() if " " not in part) * run["events"] / 100_000 for run in runs)))
    result["ratio"] = rounded(result["seconds"][1] / result["seconds"][0])
    result["cpu_ratio"] = rounded(result["cpu_seconds"][1] / max(result["cpu_seconds"][0], 0.001))
    say(f"{name}: {result['seconds'][0]} s at {sizes[0]}, {result['seconds'][1]} s at {sizes[1]}, ratio {result['ratio']}")
    return result


def growth(options):
    form = options.form
    with Rig(options) as rig:
        chain = Chain(options.seed)
        accounts = ["0x" + chain.digits(20) for _ in range(max(form["vault"]))]
        vaults = [Term(chain.digits(32), 0, ()) for _ in form["vault"]]
        pairs = [(chain.new_term(0), chain.new_term(0)) for _ in form["pair"]]
        rig.pipeline.start()
        for vault, size in zip(vaults, form["vault"]):
            rig.load(packed(deposits(chain, accounts[:size], vault), 100))
        for pair, size in zip(pairs, form["pair"]):
            rig.load(packed(triples(chain, size, *pair), 100))
        rig.drain()
        count, results = form["deposits"], ([], [])
        for _ in range(form["rounds"]):   # half of the accounts have a position already
            known = [accounts[chain.rng.randrange(min(form["vault"]))] for _ in range(count // 2)]
            some = known + ["0x" + chain.digits(20) for _ in range(count - len(known))]
            for runs, vault in zip(results, vaults):
                runs.append({"events": count, **timed(rig, packed(deposits(chain, some, vault), 10), count)})
        found = [compared(f"{count} deposits into a vault with N positions", form["vault"], results)]
        count, results = form["triples"], ([], [])
        for _ in range(form["rounds"]):
            for runs, pair in zip(results, pairs):
                runs.append({"events": 2 * count, **timed(rig, packed(triples(chain, count, *pair), 10), 2 * count)})
        found.append(compared(f"{count} new triples in a pair with N triples", form["pair"], results))
        rig.verify()
        return found


# ---- verify, rebuild, replay

def verify(options):
    """Of a million events with early notices among them; COPY of the same as the yardstick. ingest's rebuild, while events come in: the longest
    time that one of them took."""
    events = options.form["verified"]
    with Rig(options) as rig:
        flood = iter(packed(mixed(options, events), 100))
        rig.load(itertools.islice(flood, max(1, events // 100_000)))
        rig.load(notices(FIRST_BLOCK))
        rig.load(flood)
        rig.pipeline.start()
        rig.drain()
        rig.settle()
        result = {"events": events, "verify_seconds": rig.verify(), "rebuild_seconds": {}}
        late = Chain(options.seed, 1)

        def next_entry():
            late.transaction()
            event = late.priced(Term("00" * 32, 0, ()), 1)
            return {"payload": entry(event.kind, [event])[1]}
        for name in SERVICES:
            started = time.monotonic()
            beat = Beat(rig, STREAMS["SharePriceChanged"], next_entry) if name == "ingest" else None
            done = rig.pipeline.run(name, "rebuild")
            if done.returncode != 0:
                raise AssertionError(f"{name} rebuild exits {done.returncode}\n{done.stderr[-4000:]}")
            result["rebuild_seconds"][name] = round(time.monotonic() - started, 3)
            if beat:
                result["stood_still_seconds"] = rounded(beat.stop()[-1])
                rig.last[beat.stream] = rig.client.xinfo_stream(beat.stream)["last-generated-id"]
            rig.drain()
        rig.verify()
        result["copy"] = yardstick(rig)
        for what in ("verify", "rebuild"):
            result[f"{what}_ratio"] = rounded(result[f"{what}_seconds"]["ingest"] / result["copy"]["seconds"])
        say(f"{events} events: {result}")
        return [result]


def replay(options):
    if " replay " not in subprocess.run([executable("ingest"), "--help"], capture_output=True, text=True, check=True).stdout:
        say("ingest has no replay: skipped")
        return None
    events = options.form["events"]
    with Rig(options) as rig:
        rig.load(packed(mixed(options, events), 100))
        rig.pipeline.start()
        rig.drain()
        rig.settle()
        meter = Meter(rig)
        done = rig.pipeline.run("ingest", "replay", "--reset")
        command = time.monotonic() - meter.started
        if done.returncode != 0:
            raise AssertionError(f"ingest replay --reset exits {done.returncode}\n{done.stderr[-4000:]}")
        rig.drain()
        result = {"events": events, "command_seconds": round(command, 3), **meter.stop(events)}
        result["events_per_second"] = round(events / result["seconds"])
        if rig.stored() != events:
            raise AssertionError(f"{rig.stored()} of {events} events are stored after the replay")
        rig.verify()
        say(f"replay --reset of {events} events: {result['seconds']} s")
        return [result]


# ---- the report

# ---- the status page

VIEWER_PAUSE = 2   # as the page asks


async def view(number, port, end, answers):
    """One viewer, from an address of its own, as the page asks: /status every two seconds. Seconds of each request go to answers."""
    await asyncio.sleep(number % 100 / 100 * VIEWER_PAUSE)
    while time.monotonic() < end:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.1.{number % 250 + 1}", 0))
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"}"), answer[:200]
        answers.append(time.monotonic() - began)
        await asyncio.sleep(max(0, began + VIEWER_PAUSE - time.monotonic()))


async def view_all(count, port, seconds):
    answers = []
    await asyncio.gather(*(view(number, port, time.monotonic() + seconds, answers) for number in range(count)))
    return answers


def viewers(options):
    count, seconds = options.form["viewers"], options.form["viewed"]
    with Rig(options) as rig:
        rig.load(packed(mixed(options, 3000), 10))
        rig.pipeline.start()
        rig.pipeline.drain()
        ingest = next(service for service in rig.services() if service.name == "ingest")
        ingest.get("/status")
        cost = []
        for many in (0, count):
            before = seconds_of(ingest.process.pid)
            answers = asyncio.run(view_all(many, ingest.port, seconds)) if many else time.sleep(seconds)
            cost.append((seconds_of(ingest.process.pid) - before) / seconds)
        answers.sort()
        result = {"viewers": count, "seconds": seconds, "requests": len(answers), "core_without": rounded(cost[0]), "core": rounded(cost[1]),
                  "p50_ms": rounded(answers[len(answers) // 2] * 1000), "p99_ms": rounded(answers[len(answers) * 99 // 100] * 1000), "max_ms": rounded(answers[-1] * 1000)}
    say(f"viewers: {result}")
    return [result]


PARTS = {"throughput": throughput, "long": long, "delay": delay, "growth": growth, "replicas": replicas, "reorg": reorg, "verify": verify, "replay": replay, "viewers": viewers}

_METERED = {"events": 0, "seconds": 0, "machine_idle": 0, "others_on_the_machine": 0,
            "cpu_seconds_per_100000_events": dict.fromkeys((*SERVICES, "redis", "postgres"), 0)}
_EACH = dict.fromkeys(SERVICES, 0)
_RUN = {**_METERED, "end_seconds": 0, "per_message": 0, "messages": 0, "replicas": 0, "past": "", "events_per_second": 0, "peak_megabytes": _EACH, "deadlocks": 0,
        "verify_seconds": _EACH}
_THROUGH = {**_RUN, "ratio": 0, "ratios": [],
            "copy": {"rows": 0, "seconds": 0, "rows_per_second": 0, "cpu_seconds_per_100000_rows": 0}}
_REACHED = dict.fromkeys(("events", "moved", "handled_seconds", "beats", "p99_ms"), 0)
FIELDS = {   # of each element of a part's list; 0 stands for any number
    "throughput": _THROUGH,
    "long": _THROUGH,
    "replicas": {"one": _RUN, "two": _RUN, "ratio": 0, "ratios": []},
    "reorg": {},   # two kinds
    "delay": {**_METERED, "rate": 0, "fed_per_second": 0, "probes": 0, "p50_ms": 0, "p99_ms": 0, "max_ms": 0, "first_ms": 0},
    "growth": {"what": "", "sizes": [], "seconds": [], "cpu_seconds": [], "ratio": 0, "cpu_ratio": 0},
    "verify": {"events": 0, "verify_seconds": _EACH, "rebuild_seconds": _EACH, "verify_ratio": 0, "rebuild_ratio": 0, "stood_still_seconds": 0},
    "viewers": dict.fromkeys(("viewers", "seconds", "requests", "core_without", "core", "p50_ms", "p99_ms", "max_ms"), 0),
    "replay": {**_METERED, "command_seconds": 0, "events_per_second": 0},
}


def missing(value, wanted, path):
    """Where a result has not what FIELDS says."""
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            yield path
            return
        for name, part in wanted.items():
            yield from missing(value.get(name), part, f"{path}.{name}")
    elif isinstance(wanted, int) and not (isinstance(value, (int, float)) and math.isfinite(value)) or not isinstance(wanted, int) and not value:
        yield path


def complaints(report):
    for part in report["parts"]:
        results = report[part]
        if results is None and part == "replay":
            continue
        if not results:
            yield part
        for i, result in enumerate(results):
            yield from missing(result, FIELDS[part] or (_THROUGH if "mix" in result else _REACHED), f"{part}[{i}]")


def machine():
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release()}


def per(result, name):
    return f"{result['cpu_seconds_per_100000_events'].get(name, 0):.2f}"


def tables(report):
    """-> the report as Markdown"""
    def table(title, head, rows):
        yield from ("", title, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head))
        yield from ("| " + " | ".join(map(str, row)) + " |" for row in rows)

    about = report["machine"]
    yield f"{report['date']}, {about['cores']} × {about['cpu']}, {about['memory_gib']} GiB, Linux {about['kernel']}, {report['version']}"
    users = (*SERVICES, "redis", "postgres")
    through = [result for part in ("throughput", "long", "reorg") for result in report.get(part) or () if "mix" in result]
    if through:
        yield from table("Throughput, and the yardstick of the same run; of several runs the one whose ratio is the middle one:", ("mix", "events", "a message", "behind", "seconds", "events/s",
                         "COPY rows/s", "ratio", "of all runs", "new / old", "end s", "idle", "others"), (
            (r["mix"], r["events"], r["per_message"], r["past"], f"{r['seconds']:.1f}", r["events_per_second"], r["copy"]["rows_per_second"],
             f"{r['ratio']:.3f}", ", ".join(f"{ratio:.2f}" for ratio in r["ratios"]), ", ".join(f"{ratio:.2f}" for ratio in r["new_to_olds"]) or "-", r["end_seconds"],
             f"{r['machine_idle']:.0%}", f"{r['others_on_the_machine']:.0%}") for r in through))
        yield from table("Processor seconds per 100,000 events, and peak memory:", ("mix", "events", "a message", "behind", *users, "COPY",
                         *(f"{name} MB" for name in SERVICES)), (
            (r["mix"], r["events"], r["per_message"], r["past"], *(per(r, name) for name in users), f"{r['copy']['cpu_seconds_per_100000_rows']:.2f}",
             *(r["peak_megabytes"][name] for name in SERVICES)) for r in through))
    for r in report.get("replicas") or ():
        yield from table(f"Two replicas of each program / one: {r['ratio']:.2f}, the middle of {', '.join(f'{ratio:.2f}' for ratio in r['ratios'])}; its pair, "
                         "and processor seconds per 100,000 events:", ("replicas", "events", "a message", "seconds", "events/s", *users, "idle", "others"), (
            (run["replicas"], run["events"], run["per_message"], f"{run['seconds']:.1f}", run["events_per_second"], *(per(run, name) for name in users),
             f"{run['machine_idle']:.0%}", f"{run['others_on_the_machine']:.0%}") for run in (r["one"], r["two"])))
    if report.get("delay"):
        yield from table("Delay from XADD to the analytics row:", ("events/s", "fed/s", "probes", "p50 ms", "p99 ms", "old p99 ms", "max ms", "first ms", "idle"), (
            (r["rate"], r["fed_per_second"], r["probes"], r["p50_ms"], r["p99_ms"], r.get("other", {}).get("p99_ms", "-"), r["max_ms"], r["first_ms"], f"{r['machine_idle']:.0%}")
            for r in report["delay"]))
    if report.get("growth"):
        yield from table("Growth:", ("what", "N", "seconds", "ratio", "processor seconds", "ratio"), (
            (r["what"], " / ".join(f"{n:,}" for n in r["sizes"]), " / ".join(map(str, r["seconds"])), r["ratio"],
             " / ".join(map(str, r["cpu_seconds"])), r["cpu_ratio"]) for r in report["growth"]))
    for r in report.get("reorg") or ():
        if "moved" in r:
            yield from table("Notices that reach all of the events:", ("events", "handled in s", "p99 ms of the later stages meanwhile"), (
                (r["moved"], f"{r['handled_seconds']:.1f}", r["p99_ms"]),))
    for r in report.get("verify") or ():
        yield from table(f"Verify and rebuild of {r['events']:,} events, seconds; ingest's / COPY of them; an event's longest way meanwhile:", ("", *SERVICES, "/ COPY", "stood still s"), (
            (name, *(f"{r[name + '_seconds'][program]:.1f}" for program in SERVICES), r[f"{name}_ratio"], r["stood_still_seconds"] if name == "rebuild" else "")
            for name in ("verify", "rebuild")))
    for r in report.get("replay") or ():
        yield from table("ingest replay --reset, the pipeline running:", ("events", "seconds", "events/s"),
                         ((r["events"], f"{r['seconds']:.1f}", r["events_per_second"]),))
    for r in report.get("viewers") or ():
        yield from table(f"{r['viewers']} viewers of the status page for {r['seconds']} s, share of a core:", ("requests", "without them", "with them", "p50 ms", "p99 ms", "max ms"), (
            (r["requests"], f"{r['core_without']:.1%}", f"{r['core']:.1%}", r["p50_ms"], r["p99_ms"], r["max_ms"]),))
    for r in (*through, *(pair[which] for pair in report.get("replicas") or () for which in ("one", "two"))):
        if "profile" in r:
            yield from table(f"Sessions at {r['per_message']} a message, {r['replicas']} replica(s), on average:", ("program", "event", "sessions"), (
                (s["program"], s["event"], s["average"]) for s in r["profile"]["sessions"] if s["average"] >= 0.01))
            yield from table("Statements, seconds per 100,000 events (nested ones count in their callers, too):",
                             ("seconds", "calls", "rows", "top", "query"), (
                (s["seconds_per_100000_events"], s["calls"], s["rows"], s["toplevel"], s["query"][:150].replace("|", "\\|"))
                for s in r["profile"]["statements"][:40]))


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures the pipeline; see tests/bench/README.md. "
                                     "Prints tables (Markdown) to stdout, progress to stderr.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; without any: all")
    parser.add_argument("--events", type=int, metavar="N", help=f"events of throughput, replicas and replay ({FULL['events']})")
    parser.add_argument("--per-message", type=int, action="append", metavar="N", help="events per message of throughput (1, 10 and 100)")
    parser.add_argument("--mix", action="append", choices=MIXES, dest="mixes", help="of throughput and long (both)")
    parser.add_argument("--rate", type=int, action="append", dest="rates", metavar="N", help="events per second of delay (100, 1000, 5000, 15000)")
    parser.add_argument("--times", type=int, metavar="N", help="runs of each measurement of throughput (3), long (1), pairs of replicas (7)")
    parser.add_argument("--against", metavar="BUILD", help="another build: throughput, long and delay measure it right before ours, in pairs")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--quick", action="store_true", help="a small form of everything: does it run, and are the results right?")
    parser.add_argument("--profile", action="store_true", help="throughput, replicas: time by SQL statement, and what sessions wait for")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the programs other than the default")
    parser.add_argument("--seed", default="1", help="of the generated events (1)")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part {part}; there are {', '.join(PARTS)}")
    for number in (options.events, *(options.per_message or ())):
        if number is not None and number < 1:
            parser.error("a number of events must be at least 1")
    for setting in options.set:
        if "=" not in setting:
            parser.error(f"--set {setting}: NAME=VALUE is wanted")
    options.settings = dict(setting.split("=", 1) for setting in options.set)
    options.form = dict(QUICK if options.quick else FULL)
    if options.events:
        options.form["events"] = options.form["long"] = options.events
    if options.times:
        options.form["runs"] = options.form["pairs"] = options.times
    options.mixes = options.mixes or MIXES
    return options


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # with its servers and their folder
    options = arguments()
    parts = list(dict.fromkeys(options.parts)) or list(PARTS)
    version = subprocess.run([executable("ingest"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    report = {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "machine": machine(), "version": version, "quick": options.quick,
              "seed": options.seed, "settings": options.settings, "parts": parts}
    options.folder = new_folder(fast=options.quick)
    try:
        for part in parts:
            say(part)
            report[part] = PARTS[part](options)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    problems = list(complaints(report))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join(tables(report)))
    for problem in problems:
        say(f"the report lacks {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
