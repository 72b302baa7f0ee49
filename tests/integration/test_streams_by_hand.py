"""What operators do to streams and groups with redis-cli, and ids that producers choose: nothing is acked that is not stored, nothing vanishes, no loss is
made up, and what was not judged is said."""
import pytest

from servers import RedisServer
from test_http import sample
from test_sequences import STREAM, deposit, deposits
from waiting import until

QUICK = {"CLAIM_IDLE_MS": 300, "BACKFILL_INTERVAL_MS": 1000, "CIRCUIT_BREAKER_TIMEOUT_MS": 300}


def some(count, first=1):
    return [deposits(deposit(i, account=i, log_index=i)) for i in range(first, first + count)]


def pending(pipeline):
    return pipeline.redis().xpending(STREAM, pipeline.group)["pending"]


def counted_loss(service):
    return sample(service.get("/metrics")[1], "lost_entries_total") or 0


@pytest.fixture
def made(make_pipeline):
    def make(**settings):
        pipeline = make_pipeline(**QUICK, **settings).migrate()
        pipeline.streams = [STREAM]
        return pipeline
    return make


def test_the_probe_acks_no_entry(made):
    """Redis is asked whether it takes writes by an ack of an id that no entry can have."""
    pipeline = made()
    redis, service = pipeline.redis(), pipeline.start("ingest", WORKERS=1).ready()
    with pipeline.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE deposited_events")
        pipeline.feed([deposits(deposit(1), id="0-1"), deposits(deposit(2, account=2), id="0-2")])
        read = until(lambda: pending(pipeline), "the first is read, perhaps both")
        calls = redis.info("commandstats")["cmdstat_xack"]["calls"]
        until(lambda: redis.info("commandstats")["cmdstat_xack"]["calls"] > calls + 2, "Redis was probed")
        assert pending(pipeline) >= read
        service.kill()
        connection.execute("ROLLBACK")
    pipeline.start()
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("how", ["destroy", "setid"])
def test_a_group_that_is_made_anew_lost_nothing(made, how):
    """What the producer has trimmed since had been read."""
    pipeline = made()
    redis, services = pipeline.redis(), pipeline.start()
    pipeline.feed(some(30))
    pipeline.drain()
    looks = "cmdstat_eval"
    place = redis.xinfo_groups(STREAM)[0]["last-delivered-id"]
    until(lambda: redis.hget(f"{pipeline.group}:database", f"read {STREAM}") == f"{place} 30", "a look has noted it")
    redis.xtrim(STREAM, maxlen=5, approximate=False)
    if how == "destroy":
        redis.xgroup_destroy(STREAM, pipeline.group)
    else:
        redis.xgroup_setid(STREAM, pipeline.group, "0")
    before = redis.info("commandstats")[looks]["calls"]
    until(lambda: redis.info("commandstats")[looks]["calls"] > before + 8, "gaps were looked for again")
    pipeline.drain().assert_exact()
    assert counted_loss(services[0]) == 0 and "entries lost" not in services[0].messages()


def test_trimmed_pending_entries_wait_for_dead_letters_that_can_be_written(made):
    pipeline = made()
    redis = pipeline.redis()
    redis.xgroup_create(STREAM, pipeline.group, id="0", mkstream=True)
    for message in some(5):
        redis.xadd(STREAM, {"payload": message.payload()})
    redis.set(pipeline.dead_letter_stream, "somebody else's")
    redis.xreadgroup(pipeline.group, "dead", {STREAM: ">"})
    redis.xtrim(STREAM, maxlen=0)
    service = pipeline.start("ingest")
    service.says(rf"WRONGTYPE .*\({pipeline.dead_letter_stream}\)")
    assert pending(pipeline) == 5
    done = pipeline.run("ingest", "check")
    assert done.returncode == 1 and f"{pipeline.dead_letter_stream}: WRONGTYPE" in done.stdout + done.stderr
    redis.delete(pipeline.dead_letter_stream)
    until(lambda: len(pipeline.dead_letters()) == 5, "each has its letter", alive=[service])
    until(lambda: counted_loss(service) == 5, "they are counted", alive=[service])


def test_an_inner_group_beyond_the_end_is_taken_back(made):
    """Else cascade reads nothing again, whatever the backfill queues."""
    pipeline = made()
    pipeline.start()
    pipeline.feed(some(3))
    pipeline.drain()
    pipeline.redis().xgroup_setid(pipeline.vault_updates, pipeline.group, "99999999999999-0")
    pipeline.feed(some(3, first=4))
    pipeline.drain().assert_exact()


def test_verify_without_the_group_says_that_it_judged_nothing(made):
    pipeline = made()
    services = pipeline.start()
    pipeline.feed(some(3))
    pipeline.drain()
    pipeline.stop(*services)
    with pipeline.connect() as connection:
        connection.execute("DELETE FROM deposited_events WHERE log_index < 2")
    assert pipeline.run("ingest", "verify").returncode == 1
    pipeline.redis().xgroup_destroy(STREAM, pipeline.group)
    assert "nothing of it was judged" in pipeline.run("ingest", "verify").stderr


def test_names_that_are_not_ascii(made):
    pipeline = made(CONSUMER_NAME="é-1", DLQ_STREAM_NAME="lettres-mortes-é")
    pipeline.start()
    pipeline.feed(some(2))
    pipeline.drain().assert_exact()


@pytest.mark.parametrize("command", ["XAUTOCLAIM", "XGROUP", "HSET"])
def test_check_names_a_command_that_redis_does_not_know(make_pipeline, own_servers, server_folder, small, command):
    """A server whose operator has renamed it."""
    own_servers.append(RedisServer(server_folder, arguments=("--rename-command", command, f"not-{command}")))
    pipeline = make_pipeline(redis=own_servers[-1].start(), redis_db=0).migrate().listen_to(small)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": small[0].payload()})
    done = pipeline.run("ingest", "check")
    assert done.returncode == 1 and command in done.stdout + done.stderr
