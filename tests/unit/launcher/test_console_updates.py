from __future__ import annotations

from typing import Any

from facestream.launcher.console_updates import MAX_PEOPLE, ConsoleUpdates, describe_person


def camera(state: str, reason: str = "", width: int = 0) -> dict[str, Any]:
    return {"name": "door", "state": state, "reason": reason, "width": width, "height": 720}


def person(track: int, age: float | None = 34.2, female: float | None = 0.97) -> dict[str, Any]:
    low, high = (None, None) if age is None else (age - 6, age + 6)
    return {
        "track_id": track,
        "age": age,
        "age_low": low,
        "age_high": high,
        "female_probability": female,
    }


def test_a_state_is_reported_when_it_changes() -> None:
    updates = ConsoleUpdates()
    assert updates.camera_lines([camera("connecting")]) == ["door: connecting"]
    assert updates.camera_lines([camera("connecting")]) == []
    assert updates.camera_lines([camera("live", width=1280)]) == ["door: live, 1280x720"]
    assert updates.camera_lines([camera("failed", "no route")]) == ["door: failed (no route)"]
    assert updates.camera_lines([]) == ["door: removed"]


def test_a_person_is_reported_once_with_the_first_estimate() -> None:
    updates = ConsoleUpdates()
    assert updates.people_lines("door", [person(3, None, None)]) == []
    line = "door: person 1, about 34 (28-40), female 0.97"
    assert updates.people_lines("door", [person(70_003)]) == [line]
    assert updates.people_lines("door", [person(70_003)]) == []


def test_people_after_a_reconnect_are_new_people() -> None:
    updates = ConsoleUpdates()
    updates.people_lines("door", [person(70_003)])
    updates.camera_lines([camera("stalled")])
    updates.camera_lines([camera("live")])
    lines = updates.people_lines("door", [person(912_001)])
    assert lines == ["door: person 2, about 34 (28-40), female 0.97"]


def test_only_the_first_people_are_reported() -> None:
    updates = ConsoleUpdates()
    lines = updates.people_lines("door", [person(i) for i in range(MAX_PEOPLE + 5)])
    assert len(lines) == MAX_PEOPLE + 1
    assert not updates.wants_people


def test_unknown_values_are_left_out() -> None:
    assert describe_person(person(1, None, 0.1)) == "male 0.90"
    assert describe_person(person(2, 50.0, None)) == "about 50 (44-56)"
