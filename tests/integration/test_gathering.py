"""cascade and analytics rest while ingest works off a backlog, and no longer than that."""
import time

import pytest

from waiting import until

MANY = 60   # entries: more than a live chain has waiting
LOOKS = 30


@pytest.fixture(name="waiting")
def _waiting(make_pipeline, part):
    """A pipeline whose ingest is through and stopped, cascade has its work before it, and one input stream has nothing yet."""
    pipeline = make_pipeline().listen_to(part)
    pipeline.streams.append("quiet")
    pipeline.feed(part)
    ingest = pipeline.start("ingest")
    until(pipeline.drained(["ingest"]), "ingest is through", alive=[ingest])
    ingest.stop()
    return pipeline


def backlog(pipeline, count):
    """Old entries for ingest, whose group has never read any there -> the stream."""
    for n in range(count):
        pipeline.redis().xadd("quiet", {"payload": "[]"}, id=f"1-{n + 1}")
    return "quiet"


def unread(pipeline):
    client = pipeline.redis()
    groups = client.xinfo_groups(pipeline.vault_updates) if client.exists(pipeline.vault_updates) else []
    return groups[0]["lag"] if groups else None


def test_a_stage_rests_while_the_first_works_off_a_backlog(waiting):
    client, stream = waiting.redis(), backlog(waiting, MANY)
    client.xreadgroup(waiting.group, "somebody", {stream: ">"}, count=1)   # is at it
    cascade = waiting.start("cascade")
    until(lambda: unread(waiting), "cascade has made its group", alive=[cascade])
    all_of_it = client.xlen(waiting.vault_updates)
    for _ in range(LOOKS):
        assert unread(waiting) == all_of_it
        time.sleep(0.05)   # it has time to begin, and does not
    client.xgroup_setid(stream, waiting.group, "$", entries_read=MANY)
    client.xack(stream, waiting.group, "1-1")
    until(waiting.drained(["cascade"]), "cascade is through", alive=[cascade])


@pytest.mark.parametrize("count, at_it", [(MANY, False), (1, True)])
def test_nobody_waits_for_an_ingest_that_does_not_work(waiting, count, at_it):
    """A backlog that nobody is at; or an entry that is pending for ever."""
    client, stream = waiting.redis(), backlog(waiting, count)
    if at_it:
        client.xreadgroup(waiting.group, "somebody", {stream: ">"}, count=1)
    cascade = waiting.start("cascade", CLAIM_IDLE_MS=3_600_000)
    until(waiting.drained(["cascade"]), "cascade is through", alive=[cascade])
