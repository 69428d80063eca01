"""Who may send for a phone's camera, and how fast."""

from __future__ import annotations

from facestream.annotator.phone.upload_slots import (
    IDLE_TIMEOUT_S,
    MAX_CONCURRENT_UPLOADS,
    UploadDecision,
    UploadSlots,
)

ONE, OTHER = "a" * 12, "b" * 12


class Desk:
    """Pictures one after the other, each ended before the next."""

    def __init__(self, fps: float = 15.0) -> None:
        self.senders = UploadSlots(fps)

    def send(self, sender: str, seq: int, now: float, camera: str = "door") -> UploadDecision:
        verdict = self.senders.begin(camera, sender, seq, now)
        if verdict == "accept":
            self.senders.end(camera)
        return verdict


def test_a_phone_that_sends_as_it_is_asked_loses_nothing() -> None:
    desk = Desk()
    assert {desk.send(ONE, i, i / 15) for i in range(1, 100)} == {"accept"}


def test_more_than_twice_as_much_is_not_taken() -> None:
    desk = Desk(fps=10)
    taken = [desk.send(ONE, i, i / 100) for i in range(1, 1001)].count("accept")
    assert 195 <= taken <= 205


def test_a_picture_that_was_overtaken_is_late() -> None:
    desk = Desk()
    came = enumerate((1, 3, 2, 3, 4))
    assert [desk.send(ONE, seq, i / 15) for i, seq in came] == [
        *("accept", "accept", "stale", "stale", "accept")
    ]


def test_the_first_keeps_its_place_until_it_falls_silent() -> None:
    desk = Desk()
    assert desk.send(ONE, 1, 0.0) == "accept"
    assert desk.send(OTHER, 1, 1.0) == "slot_taken"
    assert desk.send(ONE, 2, IDLE_TIMEOUT_S) == "accept"
    assert desk.send(OTHER, 2, 2 * IDLE_TIMEOUT_S - 0.1) == "slot_taken"
    assert desk.send(OTHER, 3, 2 * IDLE_TIMEOUT_S + 0.1) == "accept"
    assert desk.send(ONE, 3, 2 * IDLE_TIMEOUT_S + 0.2) == "slot_taken"


def test_each_camera_has_a_place_of_its_own() -> None:
    desk = Desk()
    assert desk.send(ONE, 1, 0.0, "door") == desk.send(OTHER, 1, 0.0, "hall") == "accept"


def test_requests_under_way_are_bounded_whoever_sends_them() -> None:
    senders = UploadSlots(15)
    verdicts = [senders.begin("door", ONE, i, 0.0) for i in range(1, MAX_CONCURRENT_UPLOADS + 2)]
    assert verdicts == ["accept"] * MAX_CONCURRENT_UPLOADS + ["rate_limited"]
    assert senders.begin("door", OTHER, 1, IDLE_TIMEOUT_S + 1) == "rate_limited"
    senders.end("door")
    assert senders.begin("door", OTHER, 1, IDLE_TIMEOUT_S + 2) == "accept"


def test_cameras_that_are_gone_are_forgotten() -> None:
    senders = UploadSlots(15)
    assert senders.begin("door", ONE, 1, 0.0) == "accept"
    senders.retain_only(["hall"])
    senders.end("door")
    assert senders.begin("door", OTHER, 1, 0.0) == "accept"
