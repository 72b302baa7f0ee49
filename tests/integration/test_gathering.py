"""cascade and analytics rest while ingest works off a backlog, and no longer than that; then their replicas share what waits."""
import time

import pytest

from test_crew import crew_sizes
from waiting import until

MANY = 60   # entries: more than a live chain has waiting
LOOKS = 30
ATTEMPTS = 5   # a machine that stands still for seconds lets a flood be over before anybody looked


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


def is_at_it(pipeline, stream):
    pipeline.redis().xreadgroup(pipeline.group, "somebody", {stream: ">"}, count=1)


def backlog_ends(pipeline, stream):
    """All of it is read, and what somebody is at is done."""
    pipeline.redis().xgroup_setid(stream, pipeline.group, "$", entries_read=MANY)
    pipeline.redis().xack(stream, pipeline.group, "1-1")


def unread(pipeline):
    client = pipeline.redis()
    groups = client.xinfo_groups(pipeline.vault_updates) if client.exists(pipeline.vault_updates) else []
    return groups[0]["lag"] if groups else None


def test_a_stage_rests_while_the_first_works_off_a_backlog(waiting):
    client, stream = waiting.redis(), backlog(waiting, MANY)
    is_at_it(waiting, stream)
    cascade = waiting.start("cascade")
    until(lambda: unread(waiting), "cascade has made its group", alive=[cascade])
    all_of_it = client.xlen(waiting.vault_updates)
    for _ in range(LOOKS):
        assert unread(waiting) == all_of_it
        time.sleep(0.05)   # it has time to begin, and does not
    backlog_ends(waiting, stream)
    until(waiting.drained(["cascade"]), "cascade is through", alive=[cascade])


@pytest.mark.parametrize("count, at_it", [(MANY, False), (1, True)])
def test_nobody_waits_for_an_ingest_that_does_not_work(waiting, count, at_it):
    """A backlog that nobody is at; or an entry that is pending for ever."""
    stream = backlog(waiting, count)
    if at_it:
        is_at_it(waiting, stream)
    cascade = waiting.start("cascade", CLAIM_IDLE_MS=3_600_000)
    until(waiting.drained(["cascade"]), "cascade is through", alive=[cascade])


def flood_passes(pipeline, replicas, stream):
    """They rest behind the backlog, then it is gone -> how many workers of each may read, as seen until they are through."""
    sizes = []
    with pipeline.connect() as connection:
        def rest():
            return connection.execute("""SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = current_database()
                                         AND application_name = 'cascade' AND query LIKE '%SELECT s.stream, r.replicas%'""").fetchone()[0] == len(replicas)
        until(lambda: rest() or unread(pipeline) == 0, "they rest", alive=replicas)
    backlog_ends(pipeline, stream)
    through = pipeline.drained(["cascade"])

    def looked():
        sizes.append(crew_sizes(replicas))
        return through()
    until(looked, "cascade is through", alive=replicas)
    return sizes


def test_behind_a_flood_the_later_stages_share_too(waiting):
    client, stream = waiting.redis(), backlog(waiting, MANY)
    for _ in range(ATTEMPTS):
        client.xgroup_setid(stream, waiting.group, "0", entries_read=0)
        is_at_it(waiting, stream)
        replicas = [waiting.start("cascade") for _ in range(2)]
        sizes = flood_passes(waiting, replicas, stream)
        if [2, 2] in sizes:
            return
        waiting.stop(*replicas)
        with waiting.connect() as connection:
            connection.execute("DELETE FROM pipeline_replica")
        client.xgroup_setid(waiting.vault_updates, waiting.group, "0", entries_read=0)
    pytest.fail(f"they share in none of {ATTEMPTS} floods; last: {sizes}")


def test_who_has_entries_pending_does_not_rest(waiting):
    """What a worker of that name had read before it died is taken up at once, also by one that has nothing else to do yet."""
    client, stream = waiting.redis(), backlog(waiting, MANY)
    is_at_it(waiting, stream)
    client.xgroup_create(waiting.vault_updates, waiting.group, id="0", mkstream=True)
    for _ in range(ATTEMPTS):
        client.xgroup_setid(waiting.vault_updates, waiting.group, "0", entries_read=0)
        client.xreadgroup(waiting.group, "pod-2", {waiting.vault_updates: ">"}, count=3)
        rest, seen = unread(waiting), []
        cascade = waiting.start("cascade", CONSUMER_NAME="pod", CLAIM_IDLE_MS=3_600_000)

        def looked():
            seen.append((unread(waiting), client.xpending(waiting.vault_updates, waiting.group)["pending"]))
            return not seen[-1][1]
        until(looked, "what was pending is done", alive=[cascade])
        if seen[-1] == (rest, 0):
            break
        cascade.stop()
    else:
        pytest.fail(f"it is never done before the rest ends: {seen}")
    backlog_ends(waiting, stream)
    until(waiting.drained(["cascade"]), "cascade is through", alive=[cascade])
