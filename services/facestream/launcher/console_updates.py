"""Format terminal lines about cameras and people from the API's responses. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_PEOPLE = 12


class ConsoleUpdates:
    """Formatter that reports each camera state and each person once."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        # Track IDs start at a random number whenever a camera is opened, so none occurs twice.
        self._people: set[tuple[str, int]] = set()

    @property
    def wants_people(self) -> bool:
        """Whether fewer than `MAX_PEOPLE` people were reported."""
        return len(self._people) < MAX_PEOPLE

    def camera_lines(self, cameras: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a line for each changed camera state in a response of `GET /api/cameras`."""
        lines = []
        for camera in cameras:
            name, state, reason = camera["name"], camera["state"], camera.get("reason", "")
            if self._states.get(name) == (state, reason):
                continue
            self._states[name] = (state, reason)
            size = _format_size(camera) if state == "live" else ""
            lines.append(f"{name}: {state}{size}{_format_reason(reason)}")
        for name in self._states.keys() - {camera["name"] for camera in cameras}:
            del self._states[name]
            lines.append(f"{name}: removed")
        return lines

    def people_lines(self, camera: str, people: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a line for each new person in a response of `GET /api/cameras/{name}/people`."""
        lines = []
        for person in people:
            key = (camera, person["track_id"])
            is_estimated = person["age"] is not None or person["female_probability"] is not None
            if not is_estimated or key in self._people or not self.wants_people:
                continue
            self._people.add(key)
            lines.append(f"{camera}: person {len(self._people)}, {describe_person(person)}")
            if not self.wants_people:
                lines.append("further people: see the web UI")
        return lines


def describe_person(person: Mapping[str, Any]) -> str:
    """Return `about 34 (28-40), female 0.97`, without what is unknown."""
    parts = []
    if person["age"] is not None:
        low, high = person["age_low"], person["age_high"]
        parts.append(f"about {person['age']:.0f} ({low:.0f}-{high:.0f})")
    female = person["female_probability"]
    if female is not None:
        parts.append(f"female {female:.2f}" if female >= 0.5 else f"male {1 - female:.2f}")
    return ", ".join(parts)


def _format_size(camera: Mapping[str, Any]) -> str:
    if not camera.get("width"):
        return ""
    return f", {camera['width']}x{camera['height']}"


def _format_reason(reason: str) -> str:
    return f" ({reason})" if reason else ""
