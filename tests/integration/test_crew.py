"""In a flood several replicas first work with as many workers together as one has; then all of them are tried."""
from dataclasses import replace

from test_buckets import NEIGHBOURS
from test_parts import Feed
from test_poison import samples
from waiting import until


def crew_sizes(services):
    return [samples(one, "crew_size").get("") for one in services]


def known_replicas(pipeline, program):
    with pipeline.connect() as connection:
        return connection.execute("SELECT count(*) FROM pipeline_replica WHERE program = %s", [program]).fetchone()[0]


def test_a_flood_begins_with_a_share_and_then_all_are_tried(make_pipeline, small):
    pipeline = make_pipeline(BATCH_SIZE=2, BATCH_MAX_EVENTS=20).listen_to(small).migrate()
    replicas = [pipeline.start("ingest") for _ in range(2)]
    until(lambda: known_replicas(pipeline, "ingest") == 2, "both replicas are known", alive=replicas)
    until(lambda: crew_sizes(replicas) == [4, 4], "all read where there is no flood", alive=replicas)
    again = [replace(message, id=None) for message in small]
    seen = [[], []]   # sizes, of each replica; a flood never ends here

    def tried():
        if sum(group["lag"] or 0 for stream in pipeline.streams for group in pipeline.redis().xinfo_groups(stream)) < len(small):
            pipeline.feed(again)
        for sizes, size in zip(seen, crew_sizes(replicas)):
            sizes += [size] if sizes[-1:] != [size] else []
        return all(4 in sizes[sizes.index(2):] for sizes in seen if 2 in sizes) and all(2 in sizes for sizes in seen)
    pipeline.feed(small)
    until(tried, "half the workers of each replica read, then all", alive=replicas)
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()


def test_who_is_stuck_keeps_no_other_from_reading(make_pipeline):
    """Two replicas of two workers: one of each reads in a flood. Here that one waits for a row that somebody has locked."""
    pipeline, feed = make_pipeline(WORKERS=2, BATCH_SIZE=2, BATCH_MAX_EVENTS=20, PROCESSING_TIMEOUT_MS=600_000), Feed()
    locked, *others = NEIGHBOURS
    messages = [feed.triples(NEIGHBOURS), feed.prices(NEIGHBOURS, 1)]
    stream, = pipeline.listen_to(messages).streams
    pipeline.feed(messages)
    ingest = pipeline.start("ingest", CONSUMER_NAME="pod")
    until(pipeline.drained(["ingest"]), "ingest is through", alive=[ingest])
    ingest.stop()
    client = pipeline.redis()
    pipeline.feed([feed.prices([locked], 2)])
    client.xreadgroup(pipeline.group, "pod-0", {stream: ">"})   # the first worker finds it pending
    pipeline.feed([feed.prices(others, price) for price in range(2, 302)])
    with pipeline.connect() as connection:
        connection.execute("""INSERT INTO pipeline_replica (program, name, version, seen_at, breaker, ready, processed, failed, retries, backfilled, events_per_second)
                              VALUES ('ingest', 'another', '', now() + interval '1 hour', 'Closed', true, 0, 0, 0, 0, 0)""")
    with pipeline.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM vault WHERE term_id = %s FOR UPDATE", [locked])
        ingest = pipeline.start("ingest", CONSUMER_NAME="pod")
        sizes = set()

        def only_it_waits():
            group, = client.xinfo_groups(stream)
            sizes.update(crew_sizes([ingest]) if 0 < group["lag"] < 250 else [])   # in the flood, not at the start
            return (group["lag"], group["pending"]) == (0, 1)
        until(only_it_waits, "all but the locked one are through", alive=[ingest])
        assert 1 in sizes, "only one was to read"
    pipeline.start("cascade", "analytics")
    pipeline.drain().assert_exact()
