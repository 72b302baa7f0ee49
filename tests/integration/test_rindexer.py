"""deploy/rindexer: the ABI against the logs of a real contract; streams, events, network and variables against the recording that rindexer made with
such a file, the programs and the rest of deploy/."""
import json
import lzma
import re
from pathlib import Path

import pytest
import yaml

from keccak import keccak256

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/rindexer"
README = (FOLDER / "README.md").read_text()
PROJECT = yaml.safe_load((FOLDER / "rindexer.yaml").read_text())
(CONTRACT,) = PROJECT["contracts"]
REDIS = CONTRACT["streams"]["redis"]
STREAMS = {stream["stream_name"]: stream for stream in REDIS["streams"]}
ABI = {event["name"]: event["inputs"] for event in json.loads((FOLDER / "multivault.abi.json").read_text())}
WORD = 64   # hex digits


def topic(name):
    return "0x" + keccak256(f"{name}({','.join(part['type'] for part in ABI[name])})".encode()).hex()


def decoded(name, log):
    """-> {input: value} of a log by this ABI"""
    topics, data, found = log["topics"][1:], log["data"].removeprefix("0x"), {}
    position = 0
    for part in ABI[name]:
        if part["indexed"]:
            word = topics.pop(0).removeprefix("0x")
        else:
            word = data[position:position + WORD]
            position += WORD
        if part["type"] == "bytes":
            at = 2 * int(word, 16)
            word = data[at + WORD:at + WORD + 2 * int(data[at:at + WORD], 16)]
        found[part["name"]] = {"address": lambda: word[-40:], "bytes32": lambda: word, "bytes": lambda: word}.get(part["type"], lambda: int(word, 16))()
    assert not topics
    return found


def plain(value):
    return value.lower().removeprefix("0x") if isinstance(value, str) and not value.isdecimal() else value


@pytest.mark.parametrize("name", ABI)
def test_abi_reads_the_logs_of_a_real_contract(name):
    with lzma.open(ROOT / "tests/data/reorg.logs.jsonl.xz", "rt") as lines:
        logs = [log for log in map(json.loads, lines) if log["event"] == name]
    assert len(logs) >= 5
    for log in logs:
        assert log["topics"][0] == topic(name)
        expected = {key: plain(value) for key, value in log["args"].items()}
        for key, value in decoded(name, log).items():
            assert expected.pop(key) in (value, str(value)), (key, log)
        assert not expected


def test_each_event_has_one_stream_as_in_the_recording(recording):
    (network,) = PROJECT["networks"]
    seen = {(message.stream, message.name) for message in recording}
    assert seen == {(name, event["event_name"]) for name, stream in STREAMS.items() for event in stream["events"]}
    assert sorted(CONTRACT["include_events"]) == sorted(ABI) == sorted(name for _, name in seen)
    assert {json.loads(message.payload())["network"] for message in recording} == {network["name"]} == {detail["network"] for detail in CONTRACT["details"]}
    assert all(stream["networks"] == [network["name"]] and not any("alias" in event for event in stream["events"]) for stream in STREAMS.values())


def test_one_scheme_of_names_in_all_of_deploy():
    both = ",".join(STREAMS)
    said = [(ROOT / path).read_text() for path in ("deploy/compose.yaml", "deploy/kubernetes/base/settings.env", "deploy/rindexer/README.md")]
    for text in said:
        assert f"REDIS_STREAMS={both}\n" in text or f"{{REDIS_STREAMS:-{both}}}" in text
    assert re.findall(r"(?m)^\| `(\w+)` \| (\w+) \|$", README) == [(name, stream["events"][0]["event_name"]) for name, stream in STREAMS.items()]


def test_the_one_stream_way_names_all_events():
    (alone,) = yaml.safe_load(re.search(r"```yaml\n(.*?)```", README, re.S)[1])["streams"]
    assert [event["event_name"] for event in alone["events"]] == CONTRACT["include_events"] and alone.keys() == STREAMS["intuition_testnet_deposited"].keys()
    assert alone["stream_name"] == "rindexer_producer"


def test_compose_sets_every_variable_of_the_project():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    service = compose["services"]["rindexer"]
    used = set(re.findall(r"\$\{(\w+)\}", (FOLDER / "rindexer.yaml").read_text()))
    assert used == service["environment"].keys()   # rindexer ends at one that is not set
    (all_else,) = compose["include"]
    others = yaml.safe_load((FOLDER / all_else).read_text())
    assert set(service["depends_on"]) <= others["services"].keys() and compose["name"] == others["name"]
    mounted = [volume.split(":")[:2] for volume in service["volumes"] if volume.startswith("./")]
    assert {Path(inside).name for _, inside in mounted} == {"rindexer.yaml", Path(CONTRACT["abi"]).name}
    assert all((FOLDER / outside).is_file() for outside, _ in mounted)
