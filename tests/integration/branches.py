"""A generated chain that reorganises, as messages, and a way of feeding them that outlives a crash of Redis."""
import random
import threading
from dataclasses import replace

import redis

import chain
import feeds
from waiting import until


class Branches:
    """A chain that reorganises: every block has versions, transactions come again in other blocks, and the streams get what rindexer would
    send, and worse: stragglers, branches that come back, copies of notices with new events in between, nested notices."""

    def __init__(self, seed, streams, blocks=20, per_block=12):
        self.rng, self.streams = random.Random(seed), streams
        self.by_block = {}
        for name, event in chain.Chain(self.rng.randrange(10**9), blocks=blocks, per_block=per_block).events:
            if "#" in event:
                continue   # generic events are written word for word elsewhere
            number = int(str(event["transaction_information"]["block_number"]), 0)
            self.by_block.setdefault(number, []).append((name, event))
        self.numbers = sorted(self.by_block)
        self.messages = []

    def version(self, number, version):
        """A block's events in one of its versions: the same transactions, some in another block, another hash."""
        hash_ = "0x" + f"{number:032x}{version:032x}"
        moved = list(self.by_block[number])
        if version and self.rng.random() < 0.5:
            other = self.rng.choice(self.numbers)
            moved += self.by_block[other][:2]
        out = []
        for name, event in moved:
            about = {**event["transaction_information"], "block_hash": hash_, "block_number": number}
            out.append((name, {**event, "transaction_information": about}))
        return out

    def send(self, events):
        for name, event in events:
            stream = self.streams[len(name) % len(self.streams)]
            self.messages.append(feeds.Message(stream, name, (event,)))

    def notice(self, fork, depth, streams):
        event = {"type": "reorg", "network": chain.NETWORK, "fork_block": fork, "depth": depth, "events_deleted": 0,
                 "affected_tx_hashes": [], "affected_events": []}
        for stream in streams:
            self.messages.append(feeds.Message(stream, "__rindexer_reorg", (event,)))

    def run(self, doubled=0.0):
        rng, head = self.rng, {number: 0 for number in self.numbers}
        for at, number in enumerate(self.numbers):
            self.send(self.version(number, 0))
            if rng.random() < 0.25 and at > 2:
                depth = rng.choice([1, 2, 3, at])
                fork = self.numbers[max(0, at - depth + 1)]
                old = {n: v for n, v in head.items() if fork <= n <= number}
                for n in old:
                    head[n] = rng.choice([v for v in range(4) if v != head[n]])
                mark = len(self.messages)
                self.notice(fork, rng.choice([depth, depth + 1]), [s for s in self.streams for _ in range(rng.choice([1, 2, 5]))])
                for n, version in old.items():
                    if rng.random() < 0.3:
                        self.send(self.version(n, version)[:2])   # stragglers of the old branch
                for n in old:
                    if rng.random() < 0.85:
                        self.send(self.version(n, head[n]))
                tail = self.messages[mark:]
                rng.shuffle(tail)
                if rng.random() < 0.5:
                    self.messages[mark:] = tail
        if doubled:
            for message in rng.sample(self.messages, int(doubled * len(self.messages))):
                self.messages.insert(rng.randrange(len(self.messages) + 1), message)
        now = 1_700_000_000_000
        for at, message in enumerate(self.messages):
            now += rng.choice([0, 1, 40, 3000]) if at else 0
            self.messages[at] = replace(message, id=f"{now}-{at}")
        return self.messages


class StubbornFeeder(threading.Thread):
    """Feeds messages that have ids, one after the other, each until Redis has it: a repeated id says that it has."""

    def __init__(self, pipeline, messages):
        super().__init__(daemon=True)
        self.pipeline, self.messages, self.fed, self.ended = pipeline, messages, 0, False
        self.start()

    def _has(self, client, message):
        try:
            client.xadd(message.stream, {message.field: message.payload()}, id=message.id)
        except redis.ResponseError as refusal:
            return "equal or smaller" in str(refusal)
        except (redis.RedisError, OSError):
            return False
        return True

    def run(self):
        client = self.pipeline.redis()
        for message in self.messages:
            while not self._has(client, message):
                if self.ended:
                    return
                client = self.pipeline.redis()
            self.pipeline.entries.append((message.stream, message.id, message.payload()))
            self.fed += 1

    def reaches(self, share):
        until(lambda: self.fed >= share * len(self.messages), f"{share:.0%} of the feed is written")
