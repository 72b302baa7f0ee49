"""Redis may lose the internal streams, whole and at any moment: the backfill alone mends it."""
import random

import pytest

from feeder import Feeder
from programs import SERVICES
from waiting import until

QUICK = {"BACKFILL_INTERVAL_MS": 200, "CLAIM_IDLE_MS": 300, "CIRCUIT_BREAKER_TIMEOUT_MS": 200}


@pytest.mark.parametrize("round_", range(2))
def test_streams_deleted_under_a_feed(make_pipeline, part, seed, round_):
    rng = random.Random(f"loss-{seed}-{round_}")
    pipeline = make_pipeline(**QUICK).migrate().listen_to(part)
    pipeline.start()
    pipeline.start()
    feeder = Feeder(pipeline, part)
    for step in range(1, 8):
        feeder.reaches(step / 8)
        pipeline.redis().delete(rng.choice([pipeline.vault_updates, pipeline.term_updates]))
    feeder.join()
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


@pytest.mark.parametrize("stage", ["cascade", "analytics"])
def test_all_of_redis_lost_before_a_stage_saw_any_of_it(make_pipeline, part, stage):
    pipeline = make_pipeline(**QUICK).migrate().listen_to(part)
    before = SERVICES[:SERVICES.index(stage)]
    pipeline.start(*before)
    pipeline.feed(part)
    pipeline.drain(before)
    pipeline.redis().flushdb()
    pipeline.start(*SERVICES[SERVICES.index(stage):])
    until(pipeline.drained([stage]), "the outbox is worked off", alive=pipeline.alive())
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_a_redis_without_persistence_restarts_between_the_stages(make_pipeline, own_servers, server_folder, part):
    from servers import RedisServer
    own_servers.append(RedisServer(server_folder))
    redis = own_servers[-1].start()
    pipeline = make_pipeline(redis=redis, **QUICK).migrate().listen_to(part)
    running = pipeline.start()
    pipeline.feed(part)
    pipeline.drain(["ingest"])
    redis.kill()
    redis.start()
    for service in running:
        until(lambda: service.status_of("/health") == 200, f"{service.label} is healthy again", alive=[service])
    pipeline.drain(["cascade", "analytics"]).assert_exact()
    pipeline.assert_verified()
