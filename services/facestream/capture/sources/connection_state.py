"""Connection state machine of one camera, with reconnect backoff. No I/O.

Every call receives the current monotonic time; Unix time is used only to stamp state changes.

The reader reports events (`on_connected`, `on_failure`), and the control loop reads the status. A
live camera becomes `stalled` when no frame arrives in time. A failed camera stays `failed`, with
its reason, while the reader retries, so that its state does not flicker.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from facestream.common.cameras.models import MAX_FPS, CameraState, CameraStatus

INITIAL_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
BACKOFF_RESET_S = 20.0  # a camera that was live for this long starts with the initial backoff again
_FPS_WINDOW_S = 3.0
# A camera may be slower than the stall timeout. Then this number of its own intervals is the limit.
_STALL_INTERVALS = 2.5
_MAX_INTERVAL_S = 60.0


class ConnectionState:
    """State machine of one camera. Thread-safe.

    Args:
        name: of the camera.
        stall_timeout_s: a live camera without a frame for this long is stalled.
        now: monotonic time, seconds.
        unix_time: returns the Unix time in seconds; called when the state changes.
        jitter: returns random numbers in [0, 1); spreads the reconnects of many cameras.
        max_backoff_s: upper limit of the backoff.
    """

    def __init__(
        self,
        name: str,
        stall_timeout_s: float,
        now: float,
        unix_time: Callable[[], float],
        jitter: Callable[[], float],
        max_backoff_s: float = MAX_BACKOFF_S,
    ) -> None:
        self._name, self._stall_timeout_s, self._jitter = name, stall_timeout_s, jitter
        self._max_backoff_s = max_backoff_s
        self._lock = threading.Lock()
        self._unix_time = unix_time
        self._state: CameraState = "connecting"
        self._since = unix_time()
        self._reason = ""
        self._size = (0, 0)
        self._last_frame_at = now
        self._live_since = now
        self._failures = 0
        self._frame_counts: deque[tuple[float, int]] = deque()
        self._interval_s = 0.0  # between the last two frames, of a slow camera
        self._measured: tuple[float, int] | None = None  # time and count of a frame

    def on_connected(self, now: float, width: int, height: int) -> None:
        """Enter `live`: the first frame of a connection, or of a new size, has arrived."""
        with self._lock:
            self._size = (width, height)
            self._measured = None
            self._last_frame_at = self._live_since = now
            self._enter("live", "")

    def on_failure(self, reason: str) -> float:
        """Enter `failed` and return the backoff: seconds until the next connection attempt.

        The backoff doubles from 1 s to its maximum and is shortened by a random part, up to half.
        """
        with self._lock:
            was_stable = self._state in ("live", "stalled") and (
                self._last_frame_at - self._live_since >= BACKOFF_RESET_S
            )
            self._failures = 1 if was_stable else self._failures + 1
            self._enter("failed", reason)
            doublings = min(self._failures - 1, 10)
            backoff_s = min(self._max_backoff_s, INITIAL_BACKOFF_S * float(2**doublings))
            return max(INITIAL_BACKOFF_S / 2, backoff_s * (1 - self._jitter() / 2))

    def on_stopped(self, reason: str) -> None:
        """Enter `paused`: the camera is no longer read."""
        with self._lock:
            self._enter("paused", reason)

    def status(self, now: float, last_frame_at: float, frame_count: int) -> CameraStatus:
        """Update the state by the time of the last frame, and return the status.

        Args:
            now: monotonic time, seconds.
            last_frame_at: when the last frame arrived, monotonic seconds; 0 for never.
            frame_count: number of frames so far.
        """
        with self._lock:
            self._measure_interval(last_frame_at, frame_count)
            self._last_frame_at = max(self._last_frame_at, last_frame_at)
            silent_s = now - self._last_frame_at
            limit_s = max(self._stall_timeout_s, _STALL_INTERVALS * self._interval_s)
            if self._state == "live" and silent_s > limit_s:
                self._enter("stalled", f"no frame for {limit_s:.3g} s")
            elif self._state == "stalled" and silent_s <= limit_s:
                self._enter("live", "")
            return CameraStatus(
                name=self._name,
                state=self._state,
                since=self._since,
                fps=min(MAX_FPS, round(self._fps(now, frame_count), 1))
                if self._state == "live"
                else 0.0,
                width=self._size[0],
                height=self._size[1],
                reason=self._reason,
            )

    def _measure_interval(self, last_frame_at: float, frame_count: int) -> None:
        if self._measured is None:
            self._measured = (last_frame_at, frame_count)
            return
        last_at, last_count = self._measured
        if frame_count > last_count:
            if last_count:
                interval_s = (last_frame_at - last_at) / (frame_count - last_count)
                self._interval_s = min(interval_s, _MAX_INTERVAL_S)
            self._measured = (last_frame_at, frame_count)

    def _enter(self, state: CameraState, reason: str) -> None:
        if state != self._state:
            self._state, self._since = state, self._unix_time()
            self._frame_counts.clear()
        self._reason = reason

    def _fps(self, now: float, frame_count: int) -> float:
        counts = self._frame_counts
        counts.append((now, frame_count))
        while len(counts) > 2 and now - counts[1][0] >= _FPS_WINDOW_S:
            counts.popleft()
        first_at, first_count = counts[0]
        return (frame_count - first_count) / (now - first_at) if now > first_at else 0.0
