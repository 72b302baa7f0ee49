"""Each call failed once: the k-th call of a function of libpq, hiredis, libcurl, libmicrohttpd or libc fails in one program (tests/faults), which goes
on, or ends with a reason and is started again. All is exact in the end, nothing leaks, and nothing else ends it.

FAULT_PICKS says how many calls of each run are made to fail, at random (default 8)."""
import os
import random
import signal

import pytest

import feeds
from node import Chain
from programs import SERVICES
from waiting import until

PICKS = int(os.environ.get("FAULT_PICKS") or 8)
STEP = 9   # messages a fault
BAD = '{"event_name": "Deposited", "event_data": [{}]}'
ENDS = (0, 1, 2, 3, -signal.SIGABRT)   # done; a difference, or failed; bad settings; a server is not there; out of memory
QUICK = {"CLAIM_IDLE_MS": 300, "BACKFILL_INTERVAL_MS": 1000, "CIRCUIT_BREAKER_TIMEOUT_MS": 100}


def picked(report, seed):
    """From the report of a run without faults -> ["function:k"]"""
    counts = {name: int(count) for name, count in (line.split() for line in report.read_text().splitlines()) if count != "0"}
    choice = random.Random(seed)
    names = [choice.choice(list(counts)) for _ in range(PICKS)]   # evenly by function: else nearly all are of memory
    return [f"{name}:{choice.randint(1, counts[name])}" for name in names]


def ended_well(code, said, what):
    assert code in ENDS, f"{what} ends with {code}\n{said[-3000:]}"
    told = [line for line in said.splitlines() if not line.startswith("fault: ")]
    assert code in (0, -signal.SIGABRT) or told, f"{what} ends with {code}, without a word"


def settled(pipeline, victim, faults):
    """Waits until all is drained, whether or not the victim lives on -> the service that runs now."""
    until(lambda: not victim.running() or pipeline.drained()(), f"drained, {faults}", alive=pipeline.alive())
    if victim.running():
        return victim
    ended_well(victim.code(), victim.messages(), f"{victim.label}, {faults},")
    again = pipeline.start(victim.name)
    pipeline.drain()
    return again


@pytest.mark.parametrize("name", SERVICES)
def test_a_service(make_pipeline, recording, seed, tmp_path, name):
    messages = feeds.new_ids(feeds.load("reorg.jsonl.xz") + recording)
    pipeline = make_pipeline(WORKERS=1, **QUICK).migrate().listen_to(messages)
    pipeline.start(*(other for other in SERVICES if other != name))
    report, faults, bad, fired = tmp_path / "report", [""], [], 0
    for number in range(len(messages) // STEP):
        victim = pipeline.start(name, FAULTS=faults[number], FAULTS_REPORT=report if number == 0 else None)
        victim.may_end()
        pipeline.feed(messages[STEP * number:STEP * number + STEP])
        bad.append(pipeline.redis().xadd(pipeline.streams[0], {"payload": BAD}))
        running = settled(pipeline, victim, faults[number])
        running.ask_to_stop()
        code = running.wait()
        running.may_end()
        if running is victim:
            ended_well(code, victim.messages(), f"{victim.label}, {faults[number]},")
        assert running is victim or code == 0, running.tail()
        fired += "fault: " in victim.messages()
        if number == 0:
            faults += picked(report, seed)
        if number + 1 == len(faults):
            break
    pipeline.start(name)
    pipeline.drain()
    print(f"{name}: {fired} of {len(faults) - 1} faults met")
    assert fired and not pipeline.differences()
    assert sorted(letter["id"] for letter in pipeline.dead_letters()) == sorted(bad)
    pipeline.assert_verified()


COMMANDS = {
    "check": ["check"], "status": ["status"], "migrate": ["migrate"], "verify": ["verify"], "rebuild": ["rebuild"], "replay": ["replay", "--reset"],
    "reconcile": ["reconcile"], "dlq list": ["dlq", "list"], "dlq show": ["dlq", "show"], "dlq retry": ["dlq", "retry"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(make_pipeline, make_node, small, seed, tmp_path, command):
    node = make_node(Chain.of(small))
    pipeline = make_pipeline(**QUICK).migrate().listen_to(small)
    services = pipeline.start()
    pipeline.feed(small)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": BAD})
    pipeline.drain()
    arguments = list(COMMANDS[command])
    if "show" in arguments:
        arguments.append(pipeline.dead_letters()[0]["dead_letter_id"])
    if "retry" in arguments:
        arguments.append("--all")
    report, faults, fired = tmp_path / "report", [""], 0
    for number, fault in enumerate(faults):
        done = pipeline.run("ingest", *arguments, FAULTS=fault, FAULTS_REPORT=report if number == 0 else None, RPC_URL=node.url,
                            HTTP_PORT=services[0].port if command == "status" else None, NETWORK="intuition-testnet")
        ended_well(done.returncode, done.stdout + done.stderr, f"{command}, {fault},")
        assert fault or done.returncode == (1 if "retry" in arguments else 0), done.stderr   # the bad message is bad for good
        fired += "fault: " in done.stderr
        if number == 0:
            faults += picked(report, seed)
    done = pipeline.run("ingest", *arguments, RPC_URL=node.url, NETWORK="intuition-testnet")   # what one left half done
    print(f"{command}: {fired} of {len(faults) - 1} faults met; without one it ends with {done.returncode}")
    pipeline.drain()
    assert fired and not pipeline.differences()
    pipeline.assert_verified()
