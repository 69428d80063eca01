"""Status messages for the web UI: the health of broker, cameras, inference and counts. No I/O.

Each message is one sentence for users, with a remedy where there is one. The worst comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from facestream.annotator.video.placeholder import format_duration
from facestream.common.cameras.models import CameraStatus

Level = Literal["ok", "warning", "error"]
MAX_RESULT_WAIT_S = 5.0
SLOW_LATENCY_S = 1.5
MIN_COVERAGE = 0.8  # below this a camera misses people; the alert CoverageLow uses the same value


@dataclass(frozen=True)
class StatusMessage:
    """One line of the system status."""

    level: Level
    text: str


@dataclass(frozen=True)
class SystemSnapshot:
    """Input of the status messages.

    Attributes:
        broker_error: why the broker is unavailable; None while it is connected.
        cameras: status of every camera.
        people: number of people in view of all cameras.
        longest_wait_s: time that faces in view have waited for a first result; None without any.
        median_latency_s: from the capture of a face to its result; None without recent results.
        storage_error: why counts cannot be stored; None while they can.
        corrupt_counts_file: new name of a damaged counts file that was put aside, or None.
    """

    broker_error: str | None
    cameras: Sequence[CameraStatus]
    people: int
    longest_wait_s: float | None
    median_latency_s: float | None
    storage_error: str | None = None
    corrupt_counts_file: str | None = None


def build_messages(snapshot: SystemSnapshot, now: float) -> list[StatusMessage]:
    """Return the status messages, at least one.

    Args:
        snapshot: state of the system.
        now: Unix time in seconds.
    """
    if snapshot.broker_error is not None:
        reason = _sentence(snapshot.broker_error)
        return [StatusMessage("error", f"Can't reach Redis; live data is unavailable. {reason}.")]
    messages = [_camera_message(s, now) for s in snapshot.cameras if s.state != "live"]
    if snapshot.storage_error is not None:
        messages.append(
            StatusMessage(
                "error", f"Counts can't be saved and wait in memory: {snapshot.storage_error}."
            )
        )
    if snapshot.corrupt_counts_file is not None:
        messages.append(
            StatusMessage(
                "warning",
                "The counts file was damaged; a new one is in use. "
                f"The old one is {snapshot.corrupt_counts_file}.",
            )
        )
    wait_s = snapshot.longest_wait_s
    if wait_s is not None and wait_s > MAX_RESULT_WAIT_S:
        messages.append(
            StatusMessage(
                "error",
                f"No age or gender for {format_duration(wait_s)}, although faces are in view. "
                "Check that a worker and the model server are running.",
            )
        )
    elif snapshot.median_latency_s is not None and snapshot.median_latency_s > SLOW_LATENCY_S:
        messages.append(
            StatusMessage(
                "warning",
                f"Inference is slow ({snapshot.median_latency_s:.1f} s): the machine is "
                "overloaded. Add a worker or remove cameras.",
            )
        )
    messages += [_coverage_message(s) for s in snapshot.cameras if _is_degraded(s)]
    messages.sort(key=lambda message: ("error", "warning", "ok").index(message.level))
    return messages or [_all_ok(snapshot)]


def _all_ok(snapshot: SystemSnapshot) -> StatusMessage:
    if not snapshot.cameras:
        return StatusMessage("ok", "Everything is ready. Add a camera to start.")
    count = len(snapshot.cameras)
    live = "The camera is live" if count == 1 else f"All {count} cameras are live"
    if snapshot.median_latency_s is None:
        return StatusMessage("ok", f"{live}.")
    return StatusMessage("ok", f"{live}; age and gender take {snapshot.median_latency_s:.1f} s.")


def _camera_message(status: CameraStatus, now: float) -> StatusMessage:
    duration = format_duration(now - status.since)
    if status.state == "paused":
        return StatusMessage("ok", f"{status.name} is paused.")
    reason = f": {status.reason.rstrip('.')}" if status.reason else ""
    end = "" if reason.endswith("?") else "."
    if status.state == "connecting":
        return StatusMessage(
            "warning", f"{status.name} has been connecting for {duration}{reason}{end}"
        )
    problem = "has sent no frames" if status.state == "stalled" else "has been unavailable"
    return StatusMessage("error", f"{status.name} {problem} for {duration}{reason}{end}")


def _is_degraded(status: CameraStatus) -> bool:
    is_known = status.state == "live" and status.coverage is not None
    return is_known and (status.coverage or 0.0) < MIN_COVERAGE


def _coverage_message(status: CameraStatus) -> StatusMessage:
    return StatusMessage(
        "warning",
        f"{status.name} is watched too rarely to count everyone "
        f"(coverage {status.coverage or 0.0:.0%}). Remove cameras or add a machine.",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
