from __future__ import annotations

from typing import Any

from facestream.launcher.console_updates import MAX_PEOPLE_TOLD, ConsoleUpdates, describe


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


def test_a_state_is_told_when_it_changes() -> None:
    news = ConsoleUpdates()
    assert news.camera_lines([camera("connecting")]) == ["door: connecting"]
    assert news.camera_lines([camera("connecting")]) == []
    assert news.camera_lines([camera("live", width=1280)]) == ["door: live, 1280x720"]
    assert news.camera_lines([camera("failed", "no route")]) == ["door: failed (no route)"]
    assert news.camera_lines([]) == ["door: removed"]


def test_a_person_is_told_once_when_something_is_sure() -> None:
    news = ConsoleUpdates()
    assert news.people_lines("door", [person(3, None, None)]) == []
    told = "door: person 1, about 34 (28-40), female 0.97"
    assert news.people_lines("door", [person(70_003)]) == [told]
    assert news.people_lines("door", [person(70_003)]) == []


def test_people_of_a_camera_that_came_back_are_new_people() -> None:
    news = ConsoleUpdates()
    news.people_lines("door", [person(70_003)])
    news.camera_lines([camera("stalled")])
    news.camera_lines([camera("live")])
    lines = news.people_lines("door", [person(912_001)])
    assert lines == ["door: person 2, about 34 (28-40), female 0.97"]


def test_only_the_first_people_are_told() -> None:
    news = ConsoleUpdates()
    lines = news.people_lines("door", [person(i) for i in range(MAX_PEOPLE_TOLD + 5)])
    assert len(lines) == MAX_PEOPLE_TOLD + 1
    assert not news.wants_people


def test_what_is_not_sure_is_left_out() -> None:
    assert describe(person(1, None, 0.1)) == "male 0.90"
    assert describe(person(2, 50.0, None)) == "about 50 (44-56)"
