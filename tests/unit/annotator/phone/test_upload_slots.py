"""Upload slots and the upload rate limit of phone cameras."""

from __future__ import annotations

from facestream.annotator.phone.upload_slots import (
    IDLE_TIMEOUT_S,
    MAX_CONCURRENT_UPLOADS,
    UploadDecision,
    UploadSlots,
)

ONE, OTHER = "a" * 12, "b" * 12


class Phone:
    """A phone that uploads one frame after the other."""

    def __init__(self, fps: float = 15.0) -> None:
        self.slots = UploadSlots(fps)

    def send(self, sender: str, seq: int, now: float, camera: str = "door") -> UploadDecision:
        decision = self.slots.begin(camera, sender, seq, now)
        if decision == "accept":
            self.slots.end(camera)
        return decision


def test_phone_at_the_requested_rate_loses_no_frame() -> None:
    phone = Phone()
    assert {phone.send(ONE, i, i / 15) for i in range(1, 100)} == {"accept"}


def test_uploads_above_twice_the_requested_rate_are_limited() -> None:
    phone = Phone(fps=10)
    accepted = [phone.send(ONE, i, i / 100) for i in range(1, 1001)].count("accept")
    assert 195 <= accepted <= 205


def test_overtaken_frame_is_stale() -> None:
    phone = Phone()
    came = enumerate((1, 3, 2, 3, 4))
    assert [phone.send(ONE, seq, i / 15) for i, seq in came] == [
        *("accept", "accept", "stale", "stale", "accept")
    ]


def test_first_sender_holds_the_slot_until_it_is_idle() -> None:
    phone = Phone()
    assert phone.send(ONE, 1, 0.0) == "accept"
    assert phone.send(OTHER, 1, 1.0) == "slot_taken"
    assert phone.send(ONE, 2, IDLE_TIMEOUT_S) == "accept"
    assert phone.send(OTHER, 2, 2 * IDLE_TIMEOUT_S - 0.1) == "slot_taken"
    assert phone.send(OTHER, 3, 2 * IDLE_TIMEOUT_S + 0.1) == "accept"
    assert phone.send(ONE, 3, 2 * IDLE_TIMEOUT_S + 0.2) == "slot_taken"


def test_each_camera_has_its_own_slot() -> None:
    phone = Phone()
    assert phone.send(ONE, 1, 0.0, "door") == phone.send(OTHER, 1, 0.0, "hall") == "accept"


def test_concurrent_uploads_are_limited_for_all_senders() -> None:
    slots = UploadSlots(15)
    decisions = [slots.begin("door", ONE, i, 0.0) for i in range(1, MAX_CONCURRENT_UPLOADS + 2)]
    assert decisions == ["accept"] * MAX_CONCURRENT_UPLOADS + ["rate_limited"]
    assert slots.begin("door", OTHER, 1, IDLE_TIMEOUT_S + 1) == "rate_limited"
    slots.end("door")
    assert slots.begin("door", OTHER, 1, IDLE_TIMEOUT_S + 2) == "accept"


def test_slots_of_removed_cameras_are_dropped() -> None:
    slots = UploadSlots(15)
    assert slots.begin("door", ONE, 1, 0.0) == "accept"
    slots.retain_only(["hall"])
    slots.end("door")
    assert slots.begin("door", OTHER, 1, 0.0) == "accept"
