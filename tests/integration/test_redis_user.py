"""A user of Redis that may use few commands, and few keys: what check says, and that nothing more is needed."""
import re

import pytest

import feeds
from programs import PROJECT, SERVICES

SETUSER = re.search(r"^ACL SETUSER intuition (.*)$", (PROJECT / "deploy/README.md").read_text(), re.M)[1]
LINE = re.compile(r"^(\S+) +redis commands +(.*)$", re.M)


@pytest.fixture
def redis_user(own_redis, make_pipeline):
    """-> (pipeline, a function that gives the pipeline's user rights anew)"""
    own_redis.start()
    pipeline = make_pipeline(redis=own_redis, redis_db=0, REDIS_URL=f"redis://intuition:PASSWORD@127.0.0.1:{own_redis.port}")

    def grant(*rights):
        own_redis.client().execute_command("ACL", "SETUSER", "intuition", "reset", *SETUSER.split(), *rights)
    grant()
    return pipeline, grant


def check(pipeline, name):
    done = pipeline.run(name, "check")
    verdict, words = LINE.search(done.stdout).groups()
    assert (done.returncode == 0) == (verdict == "ok"), done.stdout
    return words


def test_the_rights_of_the_document_suffice(redis_user):
    """With a reorg, a dead consumer's entries, a dead letter that is tried again, verify, rebuild and a replay; on these keys and no other."""
    pipeline, grant = redis_user
    reorg = feeds.load("reorg.jsonl.xz")
    pipeline.listen_to(reorg).migrate()
    keys = [*pipeline.streams, pipeline.vault_updates, pipeline.term_updates, pipeline.dead_letter_stream, f"{pipeline.group}:database"]
    grant("resetkeys", *(f"~{key}" for key in keys))
    pipeline.feed(reorg[:20])
    for stream in feeds.streams_of(reorg[:20]):
        pipeline.redis().xgroup_create(stream, pipeline.group, id="0")
        pipeline.redis().xreadgroup(pipeline.group, "dead", {stream: ">"})
    services = [service.ready() for service in pipeline.start(CLAIM_IDLE_MS=300)]
    pipeline.feed(reorg[20:])
    pipeline.drain().assert_exact()
    for name in SERVICES:
        assert check(pipeline, name) == "all that are needed are allowed"
    assert pipeline.run("ingest", "replay").returncode == 0
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
    pipeline.redis().xadd(pipeline.streams[0], {"payload": "nonsense"})
    pipeline.drain()
    assert pipeline.run("ingest", "dlq", "retry", "--all").returncode == 1, "it is still nonsense"
    assert pipeline.run("ingest", "dlq", "drop", "--all").returncode == 0
    for service in services:
        assert "NOPERM" not in service.messages() and "ermission" not in service.messages(), service.tail()


def test_check_names_each_command_that_is_missing(redis_user, small):
    pipeline, grant = redis_user
    pipeline.listen_to(small).start()
    pipeline.feed(small)
    pipeline.drain()
    pipeline.stop()
    before = {key: pipeline.redis().xinfo_stream(key, full=True) for key in (*pipeline.streams, pipeline.vault_updates)}
    for command in ("xreadgroup", "xadd", "xautoclaim", "xclaim", "xpending", "xrange", "xrevrange", "xlen", "xdel", "exists", "time", "multi", "exec",
                    "hget", "hset", "xgroup|create", "xgroup|setid", "xgroup|delconsumer", "xgroup|destroy", "xinfo|stream", "xinfo|groups", "xinfo|consumers"):
        grant(f"-{command}")
        assert command.upper().replace("|", " ") in check(pipeline, "ingest"), command
    grant("-xtrim")
    assert check(pipeline, "cascade") == "the user of Redis may not use, or not on our keys: " + f"XTRIM on {pipeline.vault_updates}"
    assert check(pipeline, "ingest") == "all that are needed are allowed", "it trims nothing, unless TRIM_INPUT says so"
    grant("resetkeys", *(f"~{key}" for key in (*pipeline.streams, pipeline.vault_updates, f"{pipeline.group}:database")))
    assert f"XADD on {pipeline.dead_letter_stream}" in check(pipeline, "ingest")
    grant("resetkeys", *(f"%R~{key}" for key in pipeline.streams))
    assert "XAUTOCLAIM" in check(pipeline, "ingest")
    assert before == {key: pipeline.redis().xinfo_stream(key, full=True) for key in before}, "check changes nothing"
