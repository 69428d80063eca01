"""Median latency of results, and waits for a first result."""

from __future__ import annotations

from facestream.annotator.people.result_latency import LATENCY_WINDOW_S, ResultLatency


def test_empty_camera_does_not_hide_a_wait_of_another() -> None:
    latency = ResultLatency()
    for at_s in range(8):
        latency.on_frame("door", is_waiting=True, now_s=at_s)
        latency.on_frame("yard", is_waiting=False, now_s=at_s + 0.1)
    assert latency.longest_wait_s(["door", "yard"], 8.0) == 8.0
    assert latency.longest_wait_s(["yard"], 8.0) is None  # no one is in view of the yard
    latency.on_frame("door", is_waiting=False, now_s=8.0)
    assert latency.longest_wait_s(["door", "yard"], 8.0) is None


def test_any_result_ends_all_waits() -> None:
    latency = ResultLatency()
    latency.on_frame("door", is_waiting=True, now_s=0.0)
    latency.on_result(0.1, 4.0)
    assert latency.longest_wait_s(["door"], 4.0) is None
    latency.on_frame("door", is_waiting=True, now_s=4.2)
    assert latency.longest_wait_s(["door"], 5.2) == 1.0
    latency.remove_camera("door")
    assert latency.longest_wait_s(["door"], 9.0) is None


def test_old_latencies_are_ignored() -> None:
    latency = ResultLatency()
    assert latency.median_latency_s(0.0) is None
    for at_s, latency_s in enumerate((3.0, 3.0, 0.1, 0.2, 0.3)):
        latency.on_result(latency_s, float(at_s))
    assert latency.median_latency_s(4.0) == 0.3
    assert latency.median_latency_s(1.5 + LATENCY_WINDOW_S) == 0.2  # the first two are too old
    assert latency.median_latency_s(5.0 + LATENCY_WINDOW_S) is None
