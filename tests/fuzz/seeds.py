"""Messages to begin with, one a file in the folder named by the argument: each event's first of the recordings, notices, and what bends their form."""
import json
import lzma
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def messages():
    kept = {}
    for name in ("recording", "reorg"):
        with lzma.open(ROOT / "data" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
            for line in lines:
                payload = json.loads(line)["fields"]["payload"]
                if len(payload) < 8000:
                    kept.setdefault(json.loads(payload)["event_name"], payload)
    yield from kept.values()
    deposit = kept["Deposited"]
    yield deposit.replace("Deposited", "Renamed")
    yield deposit.replace("Deposited", "Renamed").replace('"assets"', '"a\\u0000\\ud83d\\ude00\\ud83e\\udd84\\ud800"', 1)
    yield deposit.replace('"event_data":[', '"event_data":[{"a":[[1e5,-0.5,null,true]]},', 1)


for number, message in enumerate(messages()):
    (pathlib.Path(sys.argv[1]) / f"{number}.json").write_text(message)
