"""What is to be cleared from the faces streams, and when."""

from facestream.capture.publishing.crop_retention import SWEEP_INTERVAL_S, CropRetention, Sweep
from facestream.common.broker.keys import FACES_RETENTION_S, FACES_TTL_S

RETENTION_MS = int(FACES_RETENTION_S * 1000)


def test_without_faces_there_is_nothing_to_do() -> None:
    assert CropRetention().due_at is None


def test_what_is_too_old_by_the_brokers_clock_is_to_go() -> None:
    expiry = CropRetention()
    expiry.published("a", b"900000-7", "door", now=10.0)
    assert expiry.due_at == 10.0 + SWEEP_INTERVAL_S
    assert expiry.sweeps(20.0) == [Sweep("a", str(910_000 - RETENTION_MS), "door")]
    assert expiry.due_at == 20.0 + SWEEP_INTERVAL_S


def test_a_stream_is_swept_until_nothing_of_ours_can_be_left() -> None:
    expiry = CropRetention()
    expiry.published("a", b"900000-7", "door", now=10.0)
    for now, is_due in ((10.0 + FACES_RETENTION_S, True), (10.1 + FACES_RETENTION_S, False)):
        (sweep,) = expiry.sweeps(now)
        expiry.swept(sweep)
        assert (expiry.due_at is not None) is is_due


def test_a_stream_in_use_is_swept_on() -> None:
    expiry = CropRetention()
    expiry.published("a", b"900000-0", "door", now=10.0)
    (sweep,) = expiry.sweeps(10.0 + 2 * FACES_RETENTION_S)
    expiry.published("a", b"1000000-0", "yard", now=110.0)
    expiry.swept(sweep)
    assert [s.camera for s in expiry.sweeps(120.0)] == ["yard"]


def test_a_capture_that_lives_clears_and_counts_before_the_broker_forgets() -> None:
    assert FACES_RETENTION_S + 2 * SWEEP_INTERVAL_S < FACES_TTL_S
