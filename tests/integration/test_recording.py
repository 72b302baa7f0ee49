"""The recording as it came: every table exact, and equal to what the contract itself answered."""
import feeds
import oracle


def test_as_recorded(pipeline, recording):
    pipeline.listen_to(recording).start()
    pipeline.feed(recording)
    pipeline.drain().assert_exact()
    with pipeline.connect() as connection:
        differences = oracle.compare_truth(connection, feeds.load_truth("recording.truth.json.xz"))
    assert not differences, oracle.report(differences)
    pipeline.assert_verified()


def test_two_replicas_of_every_program(pipeline, recording):
    pipeline.listen_to(recording)
    for _ in range(2):
        pipeline.start(WORKERS=4)
    pipeline.feed(recording)
    pipeline.drain().assert_exact()
    pipeline.assert_verified()
