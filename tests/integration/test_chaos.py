"""Everything at once: programs, Redis and PostgreSQL are killed and connections cut at random, while a feed with reorgs and duplicates runs.

CHAOS_ROUNDS says how many blows a run takes; tests/chaos/run takes more of them, with many seeds."""
import os
import random

import pytest

import oracle
from branches import Branches, StubbornFeeder
from programs import SERVICES
from proxy import Proxy

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "8"))
SETTINGS = {"CLAIM_IDLE_MS": 1000, "BACKFILL_INTERVAL_MS": 400, "CIRCUIT_BREAKER_TIMEOUT_MS": 200, "WORKERS": 2}


class Storm:
    def __init__(self, pipeline, proxies, rng):
        self.pipeline, self.proxies, self.rng = pipeline, proxies, rng
        plain = pipeline.environment()
        self.addresses = {"REDIS_URL": proxies[0].url(plain["REDIS_URL"]), "DATABASE_URL": proxies[1].url(plain["DATABASE_URL"])}
        self.running = [self.launch(name) for name in SERVICES for _ in range(2)]

    def launch(self, name):
        return self.pipeline.start(name, BATCH_SIZE=self.rng.choice([1, 5, 100]), **self.addresses)

    def blow(self):
        self.rng.choice([self.kill_program, self.kill_program, self.kill_redis, self.kill_postgres, self.cut, self.cut])()

    def kill_program(self):
        at = self.rng.randrange(len(self.running))
        self.running[at].kill()
        self.running[at] = self.launch(self.running[at].name)

    def kill_redis(self):
        self.pipeline.redis_server.kill()
        self.pipeline.redis_server.start()

    def kill_postgres(self):
        self.pipeline.postgres_server.kill()
        self.pipeline.postgres_server.start()

    def cut(self):
        self.rng.choice(self.proxies).cut(self.rng.randrange(1, 6))


@pytest.mark.parametrize("round_", range(3))
def test_storm(make_pipeline, own_redis, own_postgres, seed, round_):
    rng = random.Random(f"chaos-{seed}-{round_}")
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, **SETTINGS).migrate()
    proxies = [Proxy(own_redis.port, f"{seed}-{round_}"), Proxy(own_postgres.port, f"{seed}-{round_}")]
    streams = ["one"] if rng.random() < 0.3 else ["a", "b", "c", "d", "e"]
    messages = Branches(f"chaos-{seed}-{round_}", streams, blocks=40, per_block=12).run(doubled=0.15)
    pipeline.listen_to(messages)
    storm = Storm(pipeline, proxies, rng)
    feeder = StubbornFeeder(pipeline, messages)
    try:
        for blow in range(ROUNDS):
            feeder.reaches((blow + 1) / (ROUNDS + 1))
            storm.blow()
        feeder.join()
    finally:
        feeder.ended = True
    pipeline.drain().assert_exact()
    with pipeline.connect() as connection:
        orphaned = set(connection.execute("SELECT source_table, transaction_hash, log_index, block_hash FROM orphaned_events").fetchall())
    assert orphaned == set(oracle.compute(pipeline.entries).orphaned)
    pipeline.assert_settled()
    pipeline.assert_verified()
    for proxy in proxies:
        proxy.close()
