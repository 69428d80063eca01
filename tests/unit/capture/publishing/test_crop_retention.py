"""Retention of face crops: which entries are swept, and when."""

from facestream.capture.publishing.crop_retention import SWEEP_INTERVAL_S, CropRetention, Sweep
from facestream.common.broker.keys import FACES_RETENTION_S, FACES_TTL_S

RETENTION_MS = int(FACES_RETENTION_S * 1000)


def test_without_faces_no_sweep_is_due() -> None:
    assert CropRetention().due_at is None


def test_entries_too_old_by_the_clock_of_the_broker_are_swept() -> None:
    retention = CropRetention()
    retention.on_published("a", b"900000-7", "door", now=10.0)
    assert retention.due_at == 10.0 + SWEEP_INTERVAL_S
    assert retention.start_sweeps(20.0) == [Sweep("a", str(910_000 - RETENTION_MS), "door")]
    assert retention.due_at == 20.0 + SWEEP_INTERVAL_S


def test_a_stream_is_swept_until_its_last_entry_has_expired() -> None:
    retention = CropRetention()
    retention.on_published("a", b"900000-7", "door", now=10.0)
    for now, is_due in ((10.0 + FACES_RETENTION_S, True), (10.1 + FACES_RETENTION_S, False)):
        (sweep,) = retention.start_sweeps(now)
        retention.on_swept(sweep)
        assert (retention.due_at is not None) is is_due


def test_a_stream_in_use_is_swept_again() -> None:
    retention = CropRetention()
    retention.on_published("a", b"900000-0", "door", now=10.0)
    (sweep,) = retention.start_sweeps(10.0 + 2 * FACES_RETENTION_S)
    retention.on_published("a", b"1000000-0", "yard", now=110.0)
    retention.on_swept(sweep)
    assert [s.camera for s in retention.start_sweeps(120.0)] == ["yard"]


def test_a_running_capture_sweeps_and_counts_before_the_ttl() -> None:
    assert FACES_RETENTION_S + 2 * SWEEP_INTERVAL_S < FACES_TTL_S
