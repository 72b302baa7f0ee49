"""SIGTERM in the middle of a feed: exit 0, nothing pending, nothing lost, nothing twice. A second signal ends at once."""
import signal

import pytest

import feeds
from feeder import Feeder
from programs import SERVICES
from waiting import until


def pending_of(pipeline, streams):
    groups = [group for stream in streams for group in pipeline.redis().xinfo_groups(stream)]
    return sum(group["pending"] for group in groups if group["name"] == pipeline.group)


@pytest.mark.parametrize("name", SERVICES)
def test_stop_in_the_middle(pipeline, recording, seed, name):
    messages = feeds.shuffled(recording, seed)
    pipeline.listen_to(messages)
    services = {service.name: service for service in pipeline.start()}
    feeder = Feeder(pipeline, messages)
    reads = {"ingest": pipeline.streams, "cascade": [pipeline.vault_updates], "analytics": [pipeline.term_updates]}[name]
    for share in (0.2, 0.5):
        feeder.reaches(share)
        services[name].ready()
        services[name].stop()
        assert pending_of(pipeline, reads) == 0
        services[name] = pipeline.start(name)
    feeder.join()
    pipeline.drain().assert_exact()


def test_stop_of_everything_at_once(pipeline, recording):
    messages = feeds.new_ids(recording)
    pipeline.listen_to(messages)
    services = pipeline.start() + pipeline.start()
    feeder = Feeder(pipeline, messages)
    feeder.reaches(0.4)
    for service in services:
        service.ready()
    pipeline.stop()
    assert pending_of(pipeline, [*pipeline.streams, pipeline.vault_updates, pipeline.term_updates]) == 0
    pipeline.start()
    feeder.join()
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_stops(pipeline, number):
    services = pipeline.start(BATCH_TIMEOUT_MS=600_000)   # a read that waits does not hold the stop back
    for service in services:
        service.ready()
        service.ended = "stopped"
        service.signal(number)
        assert service.wait() == 0, service.tail()


# A batch that cannot commit: somebody holds a table. The times are so long that only the signal itself can end the process.
_LONG = {"PROCESSING_TIMEOUT_MS": 3_600_000, "SHUTDOWN_TIMEOUT_MS": 3_600_000, "CLAIM_IDLE_MS": 1000}


def _stuck(pipeline, small, **settings):
    """-> (ingest with a batch that waits for a lock, the connection that holds it)"""
    pipeline.migrate().listen_to(small)
    holder = pipeline.connect()
    holder.autocommit = False
    holder.execute("LOCK TABLE deposited_events, redeemed_events, share_price_changed_events, atom_created_events, triple_created_events "
                   "IN ACCESS EXCLUSIVE MODE")
    service = pipeline.start("ingest", **{**_LONG, **settings}).ready()
    pipeline.feed(small)
    with pipeline.connect() as watcher:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        until(lambda: watcher.execute(waiting).fetchone()[0], "a batch waits for the lock", alive=[service])
    return service, holder


def test_a_second_signal_ends_at_once(pipeline, small):
    service, holder = _stuck(pipeline, small)
    service.signal(signal.SIGTERM)
    service.says(r"SIGTERM|stop|shut|signal")
    assert service.running()
    service.signal(signal.SIGTERM)
    service.may_end()
    service.wait()                       # while the lock is still held
    holder.close()
    pipeline.start(CLAIM_IDLE_MS=1000)
    pipeline.drain().assert_exact()


def test_shutdown_timeout(pipeline, small):
    """What cannot finish in SHUTDOWN_TIMEOUT_MS is left pending, not lost."""
    service, holder = _stuck(pipeline, small, SHUTDOWN_TIMEOUT_MS=1000)
    service.may_end()
    service.signal(signal.SIGTERM)
    service.wait()
    holder.close()
    pipeline.start(CLAIM_IDLE_MS=1000)
    pipeline.drain().assert_exact()
