"""Vaults whose events do not agree on their type: reorgs, copies, events without time, replicas, rebuilds at the same time."""
import random
import threading
from dataclasses import replace

import pytest

from branches import Branches
from test_reorgs import assert_reorged


def mixed(messages, rng, share, null_times):
    """Versions of one event agree (what is one event in one block has one content)."""
    types, times, out = {}, {}, []
    for message in messages:
        events = []
        for event in message.events:
            event = dict(event)
            about = event.get("transaction_information")
            if about is not None and "vaultType" in event:
                key = (about["transaction_hash"], str(about["log_index"]), about["block_hash"])
                if key not in types:
                    types[key] = rng.randrange(3) if rng.random() < share else event["vaultType"]
                event["vaultType"] = types[key]
            if about is not None and null_times:
                key = (about["transaction_hash"], str(about["log_index"]), about["block_hash"])
                if key not in times:
                    times[key] = rng.random() < 0.3
                if times[key]:
                    event["transaction_information"] = {**about, "block_timestamp": None}
            events.append(event)
        out.append(replace(message, events=tuple(events)))
    return out


@pytest.mark.parametrize("round_", range(6))
def test_vaults_of_mixed_types(pipeline, seed, round_):
    rng = random.Random(f"{seed}-{round_}-types")
    streams = ["one"] if round_ % 2 else ["a", "b", "c"]
    messages = mixed(Branches(f"{seed}-{round_}-types", streams, blocks=12).run(doubled=rng.choice([0, 0.3])), rng,
                     rng.choice([0.02, 0.1, 0.5, 1]), round_ % 3 == 0)
    pipeline.migrate().listen_to(messages)
    pipeline.feed(messages)
    pipeline.start_two(rng)
    if round_ >= 3:
        done = threading.Event()
        seen = []

        def rebuild():
            while not done.is_set():
                for name in ("ingest", "cascade", "analytics"):
                    seen.append(pipeline.run(name, "rebuild"))
        thread = threading.Thread(target=rebuild)
        thread.start()
        try:
            pipeline.drain(["ingest"])
        finally:
            done.set()
            thread.join()
        assert [r.stderr for r in seen if r.returncode] == []
    assert_reorged(pipeline.drain())
    pipeline.assert_verified()
