"""How the whole system does, in words for people who did not build it. Pure.

In: what this service knows of the broker, the cameras and the answers. Out: a few lines, worst
first, each with what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from facestream.annotator.video.placeholder import format_duration
from facestream.common.cameras.models import CameraStatus

Level = Literal["good", "busy", "bad"]
ANSWER_OVERDUE_S = 5.0
SLOW_ANSWER_S = 1.5


@dataclass(frozen=True)
class StatusMessage:
    """One line, and how bad it is."""

    level: Level
    text: str


@dataclass(frozen=True)
class SystemSnapshot:
    """What is known; ages in seconds, `None` = never."""

    broker_missing: str | None
    cameras: Sequence[CameraStatus]
    people: int
    unanswered_for_s: float | None  # somebody has been in view so long and no answer came
    answer_latency_s: float | None  # typical, from the face's capture to its answer
    counts_trouble: str | None = None  # why counts cannot be kept


def build_messages(facts: SystemSnapshot, now: float) -> list[StatusMessage]:
    """The lines to show; never empty.

    Args:
        now: Unix time in seconds.
    """
    if facts.broker_missing is not None:
        why = _cap(facts.broker_missing)
        return [
            StatusMessage("bad", f"The broker does not answer, so nothing can be shown. {why}.")
        ]
    found = [_camera(status, now) for status in facts.cameras if status.state != "live"]
    if facts.counts_trouble is not None:
        found.append(
            StatusMessage(
                "bad", f"Counts cannot be saved and wait in memory: {facts.counts_trouble}."
            )
        )
    overdue_s = facts.unanswered_for_s
    if overdue_s is not None and overdue_s > ANSWER_OVERDUE_S:
        found.append(
            StatusMessage(
                "bad",
                f"Faces are in view, but no age or gender has come for {format_duration(overdue_s)}. "
                "Check that a worker and the model server run.",
            )
        )
    elif facts.answer_latency_s is not None and facts.answer_latency_s > SLOW_ANSWER_S:
        found.append(
            StatusMessage(
                "busy",
                f"Answers take {facts.answer_latency_s:.1f} s: there is more to do than this "
                "machine can. Another worker or fewer cameras would help.",
            )
        )
    found.sort(key=lambda note: ("bad", "busy", "good").index(note.level))
    return found or [_all_good(facts)]


def _all_good(facts: SystemSnapshot) -> StatusMessage:
    if not facts.cameras:
        return StatusMessage("good", "Everything is ready. Add a camera to begin.")
    many = len(facts.cameras)
    live = "The camera is live" if many == 1 else f"All {many} cameras are live"
    if facts.answer_latency_s is None:
        return StatusMessage("good", f"{live}.")
    return StatusMessage(
        "good", f"{live}; age and gender come after {facts.answer_latency_s:.1f} s."
    )


def _camera(status: CameraStatus, now: float) -> StatusMessage:
    age = format_duration(now - status.since)
    if status.state == "stopped":
        return StatusMessage("good", f"{status.name} is paused.")
    why = f": {status.reason.rstrip('.')}" if status.reason else ""
    end = "" if why.endswith("?") else "."
    if status.state == "connecting":
        return StatusMessage("busy", f"{status.name} has been connecting for {age}{why}{end}")
    word = "has sent no picture" if status.state == "stalled" else "has been unavailable"
    return StatusMessage("bad", f"{status.name} {word} for {age}{why}{end}")


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
