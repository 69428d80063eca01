"""What the terminal is told of cameras and people: the API's answers in, lines out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_PEOPLE_TOLD = 12


class ConsoleUpdates:
    """Remembers what was said, so that each thing is said once."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        # Track numbers begin at random each time a camera is opened, so that none comes again.
        self._people: set[tuple[str, int]] = set()

    @property
    def wants_people(self) -> bool:
        """Whether more first results are to be told."""
        return len(self._people) < MAX_PEOPLE_TOLD

    def camera_lines(self, cameras: Sequence[Mapping[str, Any]]) -> list[str]:
        """Changes of state; takes `GET /api/cameras`."""
        lines = []
        for camera in cameras:
            name, state, reason = camera["name"], camera["state"], camera.get("reason", "")
            if self._states.get(name) == (state, reason):
                continue
            self._states[name] = (state, reason)
            lines.append(
                f"{name}: {state}{_size(camera) if state == 'live' else ''}{_because(reason)}"
            )
        for name in self._states.keys() - {camera["name"] for camera in cameras}:
            del self._states[name]
            lines.append(f"{name}: removed")
        return lines

    def people_lines(self, camera: str, people: Sequence[Mapping[str, Any]]) -> list[str]:
        """First results; takes `GET /api/cameras/{name}/people`."""
        lines = []
        for person in people:
            known = (camera, person["track_id"])
            sure = person["age"] is not None or person["female_probability"] is not None
            if not sure or known in self._people or not self.wants_people:
                continue
            self._people.add(known)
            lines.append(f"{camera}: person {len(self._people)}, {describe(person)}")
            if not self.wants_people:
                lines.append("further people are on the page")
        return lines


def describe(person: Mapping[str, Any]) -> str:
    """`about 34 (28-40), female 0.97`, or the one of both that is known."""
    known = []
    if person["age"] is not None:
        low, high = person["age_low"], person["age_high"]
        known.append(f"about {person['age']:.0f} ({low:.0f}-{high:.0f})")
    female = person["female_probability"]
    if female is not None:
        known.append(f"female {female:.2f}" if female >= 0.5 else f"male {1 - female:.2f}")
    return ", ".join(known)


def _size(camera: Mapping[str, Any]) -> str:
    if not camera.get("width"):
        return ""
    return f", {camera['width']}x{camera['height']}"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
