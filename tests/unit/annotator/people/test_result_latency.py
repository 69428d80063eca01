"""How long answers take, and who waits for one."""

from __future__ import annotations

from facestream.annotator.people.result_latency import LATENCY_COUNTS_S, Answering


def test_an_empty_camera_does_not_hide_that_another_waits() -> None:
    answering = Answering()
    for at_s in range(8):
        answering.on_frame("door", waits=True, now_s=at_s)
        answering.on_frame("yard", waits=False, now_s=at_s + 0.1)
    assert answering.longest_wait_s(["door", "yard"], 8.0) == 8.0
    assert answering.longest_wait_s(["yard"], 8.0) is None  # nobody is in view of the door any more
    answering.on_frame("door", waits=False, now_s=8.0)
    assert answering.longest_wait_s(["door", "yard"], 8.0) is None


def test_an_answer_to_anybody_says_that_somebody_answers() -> None:
    answering = Answering()
    answering.on_frame("door", waits=True, now_s=0.0)
    answering.on_result(0.1, 4.0)
    assert answering.longest_wait_s(["door"], 4.0) is None
    answering.on_frame("door", waits=True, now_s=4.2)
    assert answering.longest_wait_s(["door"], 5.2) == 1.0
    answering.forget("door")
    assert answering.longest_wait_s(["door"], 9.0) is None


def test_old_delays_say_nothing_of_now() -> None:
    answering = Answering()
    assert answering.median_latency_s(0.0) is None
    for at_s, latency_s in enumerate((3.0, 3.0, 0.1, 0.2, 0.3)):
        answering.on_result(latency_s, float(at_s))
    assert answering.median_latency_s(4.0) == 0.3
    assert answering.median_latency_s(1.5 + LATENCY_COUNTS_S) == 0.2  # the first two are too old
    assert answering.median_latency_s(5.0 + LATENCY_COUNTS_S) is None
