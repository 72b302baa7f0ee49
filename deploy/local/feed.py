#!/usr/bin/python3
"""Feeds a recording into Redis at a visible pace, then waits until the pipeline has processed it; or feeds on.

    feed.py PORT RECORDING.jsonl.xz GROUP INTERNAL_STREAM…
    feed.py --live PORT RECORDING.jsonl.xz

Redis itself counts what was fed, so a later start goes on behind that. Processed means: GROUP has read and acked
everything in the recording's streams and in the internal ones. Exit 1 when that stands still for PATIENCE seconds.

--live feeds the deposits, redemptions and prices of one of the recording's blocks every LIVE_PAUSE seconds, as a new block, until it is ended.
"""
import json
import lzma
import random
import secrets
import signal
import socket
import sys
import time

RATE = 150      # entries a second: slow enough to watch, some 2,000 events
CHUNK = 10      # entries per round trip
PATIENCE = 120
LIVE_PAUSE = 2
FED, BLOCK = "demo:fed", "demo:block"   # counters in Redis: the recording's entries that were fed, the live blocks


def good(answer):
    """The answer; an error is raised."""
    if isinstance(answer, RuntimeError):
        raise answer
    return answer


class Redis:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.answers = self.socket.makefile("rb")

    def run(self, *commands):
        """Sends all commands in one go -> their answers; an error is an answer too."""
        wire = bytearray()
        for command in commands:
            wire += b"*%d\r\n" % len(command)
            for part in command:
                data = str(part).encode()
                wire += b"$%d\r\n%s\r\n" % (len(data), data)
        self.socket.sendall(wire)
        return [self._answer() for _ in commands]

    def _answer(self):
        line = self.answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            return RuntimeError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.answers.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return None if rest == "-1" else [self._answer() for _ in range(int(rest))]
        return rest


class Bar:
    """A bar with rate and time left on a terminal; elsewhere a line every few seconds."""

    def __init__(self, label, total):
        self.label, self.total = label, total
        self.terminal = sys.stdout.isatty()
        self.started = time.monotonic()
        self.next_line = self.started + (0 if self.terminal else 2)

    def show(self, done, last=False):
        now = time.monotonic()
        if now < self.next_line and not last:
            return
        self.next_line = now + (0.1 if self.terminal else 2)
        rate = done / max(now - self.started, 0.001)
        text = f"{done:>6} of {self.total} entries, {rate:.0f}/s"
        if done < self.total:
            text += f", {(self.total - done) / max(rate, 1):.0f} s left"
        if self.terminal:
            filled = 30 * done // max(self.total, 1)
            print(f"\r{self.label:<11}[{'#' * filled}{'.' * (30 - filled)}] {text}\033[K", end="\n" if last else "", flush=True)
        else:
            print(f"{self.label:<11}{text}", flush=True)


def add(redis, entries, *more):
    """All entries and commands, or none of them."""
    added = [["XADD", stream, "*", "payload", payload] for stream, payload in entries]
    for answer in good(redis.run(["MULTI"], *added, *more, ["EXEC"])[-1]):
        good(answer)


def feed(redis, entries):
    before = int(good(redis.run(["GET", FED])[0]) or 0)
    if before:
        print(f"{before} of {len(entries)} entries were fed by an earlier start.", flush=True)
    if before >= len(entries):
        return
    bar = Bar("Feeding", len(entries))
    for start in range(before, len(entries), CHUNK):
        chunk = entries[start:start + CHUNK]
        add(redis, [(e["stream"], e["fields"]["payload"]) for e in chunk], ["SET", FED, start + len(chunk)])
        bar.show(start + len(chunk))
        time.sleep(max(0.0, bar.started + (start + len(chunk) - before) / RATE - time.monotonic()))
    bar.show(len(entries), last=True)


def new_hash():
    return "0x" + secrets.token_hex(32)


def feed_block(redis, last, messages):
    number, block_hash, hashes, now = last + good(redis.run(["INCR", BLOCK])[0]), new_hash(), {}, int(time.time())
    for _, message in messages:
        message["block_number"] = number
        for event in message["event_data"]:
            about = event["transaction_information"]
            about["transaction_hash"] = hashes.setdefault(about["transaction_hash"], new_hash())
            about.update(block_number=number, block_hash=block_hash, block_timestamp=now)
    add(redis, [(stream, json.dumps(message)) for stream, message in messages])


def live(port, entries):
    blocks, last = {}, 0
    for entry in entries:
        message = json.loads(entry["fields"]["payload"])
        number = message["block_number"]
        last = max(last, number)
        if message["event_name"] in ("Deposited", "Redeemed", "SharePriceChanged"):
            blocks.setdefault(number, []).append((entry["stream"], message))
    redis = None
    while True:
        try:
            redis = redis or Redis(port)
            feed_block(redis, last, random.choice(list(blocks.values())))
        except (OSError, RuntimeError):   # Redis is away, or is just loading its data
            redis = None
        time.sleep(LIVE_PAUSE)


def number(entry_id):
    return tuple(int(part) for part in entry_id.split("-"))


def waiting(redis, streams, group):
    """-> {stream: why it is not processed yet}, all looked at in one moment."""
    commands = [[command, stream] for stream in streams for command in (["XINFO", "STREAM"], ["XINFO", "GROUPS"])]
    answers = redis.run(["MULTI"], *([*command, stream] for command, stream in commands), ["EXEC"])[-1]
    why = {}
    for stream, about, groups in zip(streams, answers[::2], answers[1::2]):
        if isinstance(about, RuntimeError):
            why[stream] = "does not exist yet"
            continue
        newest = dict(zip(about[::2], about[1::2]))["last-generated-id"]
        own = [g for g in (dict(zip(g[::2], g[1::2])) for g in groups) if g["name"] == group]
        if not own:
            why[stream] = f"has no group {group} yet"
        elif number(own[0]["last-delivered-id"]) < number(newest):
            why[stream] = f"is read up to {own[0]['last-delivered-id']} of {newest}"
        elif own[0]["pending"]:
            why[stream] = f"has {own[0]['pending']} entries pending"
    return why


def drain(redis, streams, group):
    seen, changed, told = None, time.monotonic(), time.monotonic()
    while why := waiting(redis, streams, group):
        now = time.monotonic()
        if why != seen:
            seen, changed = why, now
        if now > changed + PATIENCE:
            sys.exit("feed.py: nothing moves any more: " + "; ".join(f"{stream} {reason}" for stream, reason in why.items()))
        if now > told + 2:
            told = now
            print("Processing: " + "; ".join(f"{stream} {reason}" for stream, reason in why.items()), flush=True)
        time.sleep(0.1)


def main(port, recording, group, *internal):
    with lzma.open(recording, "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    if group is None:
        live(int(port), entries)
    redis = Redis(int(port))
    feed(redis, entries)
    drain(redis, [*dict.fromkeys(e["stream"] for e in entries), *internal], group)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main(*(sys.argv[2:4] + [None] if sys.argv[1] == "--live" else sys.argv[1:]))
