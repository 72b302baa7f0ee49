"""Redis forgets by a restart how many entries a group has read (7.0 to 8). What was trimmed unread is counted all the same, and no loss is made up."""
import re
import signal

import pytest

from test_http import sample
from waiting import until

SAID = r"trimmed away before .* entries=(\d+) after=(\S+) before=(\S+)"


@pytest.fixture
def restartable(make_pipeline, own_redis):
    pipeline = make_pipeline(redis=own_redis.start(), redis_db=0, CIRCUIT_BREAKER_TIMEOUT_MS=300).migrate()

    def restart():
        own_redis.stop()
        own_redis.start()
    pipeline.restart = restart
    return pipeline


def read_20(pipeline):
    stream, redis = pipeline.streams[0], pipeline.redis()
    service = pipeline.start("ingest").ready()
    ids = [redis.xadd(stream, {"payload": "{}"}) for _ in range(20)]
    until(pipeline.drained(["ingest"]), "they are read", alive=[service])
    until(lambda: redis.hget(f"{pipeline.group}:database", f"read {stream}") == f"{ids[-1]} 20", "a look has noted it", alive=[service])
    return stream, ids, service


@pytest.mark.parametrize("stopped", [True, False])
def test_unread_entries_are_trimmed_after_a_restart(restartable, stopped):
    """ingest stopped, or frozen, and Redis restarted, before they came."""
    pipeline = restartable
    stream, ids, service = read_20(pipeline)
    if stopped:
        pipeline.stop(service)
    else:
        service.signal(signal.SIGSTOP)
    pipeline.restart()
    redis = pipeline.redis()
    more = [redis.xadd(stream, {"payload": "{}"}) for _ in range(100)]
    redis.xtrim(stream, maxlen=20, approximate=False)
    if stopped:
        service = pipeline.start("ingest").ready()
    else:
        service.signal(signal.SIGCONT)
    until(pipeline.drained(["ingest"]), "all is read", alive=[service])
    until(lambda: sample(service.get("/metrics")[1], "lost_entries_total"), "it is counted", alive=[service])
    assert sample(service.get("/metrics")[1], "lost_entries_total") == 80
    assert re.findall(SAID, service.messages()) == [("80", ids[-1], more[80])]
    assert "is not known" not in service.messages()


def test_a_restart_loses_nothing(restartable):
    """Twice, and with entries between: nothing is said, and Redis knows the lag again."""
    pipeline = restartable
    stream, _, service = read_20(pipeline)
    for number in range(2):
        pipeline.restart()
        redis = pipeline.redis()
        until(lambda: redis.xinfo_groups(stream)[0]["lag"] == 0, "the lag is known again", alive=[service])
        last = redis.xadd(stream, {"payload": "{}"})
        until(lambda: redis.hget(f"{pipeline.group}:database", f"read {stream}") == f"{last} {21 + number}", "one more is read", alive=[service])
    assert "is not known" not in service.messages() and "trimmed" not in service.messages(), service.tail()
    assert sample(service.get("/metrics")[1], "lost_entries_total") == 0
