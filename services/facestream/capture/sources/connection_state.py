"""In what state one camera is, and when to try it again. Pure: every call says what time it is.

That is the monotonic clock's; the Unix time only stamps when a state began.

The reader tells what happened (`frame`, `failed`), the control loop asks for the status; a camera
that was live and sends nothing becomes `stalled` by the mere passing of time. A camera that failed
stays `failed`, with its reason, while it is tried again: it does not flicker.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from facestream.common.cameras.models import CameraState, CameraStatus

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
STEADY_S = 20.0  # a camera that was live for so long starts again with the shortest wait
_FPS_WINDOW_S = 3.0


class ConnectionState:
    """The state machine of one camera. Thread-safe.

    Args:
        name: of the camera.
        stall_timeout_s: a live camera without a frame for so long is stalled.
        now: monotonic time, seconds.
        unix_time: the Unix time, seconds; read when the state changes.
        jitter: random numbers in [0, 1); spreads the reconnections of many cameras.
        longest_wait_s: between two tries.
    """

    def __init__(
        self,
        name: str,
        stall_timeout_s: float,
        now: float,
        unix_time: Callable[[], float],
        jitter: Callable[[], float],
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._name, self._stall_s, self._jitter = name, stall_timeout_s, jitter
        self._longest_wait_s = longest_wait_s
        self._lock = threading.Lock()
        self._unix_time = unix_time
        self._state: CameraState = "connecting"
        self._since = unix_time()
        self._reason = ""
        self._size = (0, 0)
        self._frame_at = now
        self._live_since = now
        self._failures = 0
        self._counts: deque[tuple[float, int]] = deque()

    def on_connected(self, now: float, width: int, height: int) -> None:
        """The camera was opened, or changed its size, and this is what it shows."""
        with self._lock:
            self._size = (width, height)
            self._frame_at = self._live_since = now
            self._enter("live", "")

    def on_failure(self, reason: str) -> float:
        """The camera could not be opened or read; returns after how many seconds to try again.

        The wait doubles from 1 s to the longest, less up to a half by chance.
        """
        with self._lock:
            was_steady = self._state in ("live", "stalled") and (
                self._frame_at - self._live_since >= STEADY_S
            )
            self._failures = 1 if was_steady else self._failures + 1
            self._enter("failed", reason)
            doublings = min(self._failures - 1, 10)
            longest = min(self._longest_wait_s, FIRST_WAIT_S * float(2**doublings))
            return max(FIRST_WAIT_S / 2, longest * (1 - self._jitter() / 2))

    def on_stopped(self, reason: str) -> None:
        """Nobody reads the camera any more."""
        with self._lock:
            self._enter("paused", reason)

    def status(self, now: float, frame_at: float, frames: int) -> CameraStatus:
        """The camera's status.

        Args:
            now: monotonic time, seconds.
            frame_at: when its last frame came, monotonic; 0 for never.
            frames: how many frames have come so far.
        """
        with self._lock:
            self._frame_at = max(self._frame_at, frame_at)
            silent_s = now - self._frame_at
            if self._state == "live" and silent_s > self._stall_s:
                self._enter("stalled", f"no picture for {self._stall_s:g} s")
            elif self._state == "stalled" and silent_s <= self._stall_s:
                self._enter("live", "")
            return CameraStatus(
                name=self._name,
                state=self._state,
                since=self._since,
                fps=round(self._fps(now, frames), 1) if self._state == "live" else 0.0,
                width=self._size[0],
                height=self._size[1],
                reason=self._reason,
            )

    def _enter(self, state: CameraState, reason: str) -> None:
        if state != self._state:
            self._state, self._since = state, self._unix_time()
            self._counts.clear()
        self._reason = reason

    def _fps(self, now: float, frames: int) -> float:
        self._counts.append((now, frames))
        while len(self._counts) > 2 and now - self._counts[1][0] >= _FPS_WINDOW_S:
            self._counts.popleft()
        began, first = self._counts[0]
        return (frames - first) / (now - began) if now > began else 0.0
