"""Decide when a process is started, restarted with backoff, killed or given up. No I/O.

Takes events and a clock, returns decisions. A process that exits is restarted: at first quickly,
then after growing pauses while it keeps exiting. It is never given up once it has been ready. A
process that exits with code 1 or 2 before it was ever ready has reported an error that a restart
cannot fix, so it ends the launcher.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MIN_BACKOFF_S = 0.25
MAX_BACKOFF_S = 15.0
STABLE_AFTER_S = 20.0  # a run of this length resets the backoff
LIVENESS_TIMEOUT_S = 30.0  # without a successful liveness probe for longer, it is stuck
STARTUP_TIMEOUT_S = 300.0  # the same before it was ready the first time, for slow machines


class Action(Enum):
    """What the launcher must do with a process now."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"


@dataclass(slots=True)
class ProcessState:
    """History of one process. Times are seconds of any monotonic clock."""

    running: bool = False
    ever_ready: bool = False
    ready: bool = False
    restarts: int = 0
    _consecutive_exits: int = 0
    _started_s: float = 0.0
    _restart_due_s: float = 0.0
    _last_alive_s: float = 0.0

    def on_start(self, now_s: float) -> None:
        """Record that the process was started."""
        self.running, self.ready = True, False
        self._started_s = self._last_alive_s = now_s

    def on_probe_ok(self, now_s: float, *, ready: bool) -> None:
        """Record a successful liveness probe, and whether the process is ready."""
        self._last_alive_s = now_s
        self.ready = ready
        self.ever_ready = self.ever_ready or ready

    def on_exit(self, now_s: float) -> float:
        """Record that the process exited; return the pause before its restart, in seconds."""
        if now_s - self._started_s >= STABLE_AFTER_S:
            self._consecutive_exits = 0
        pause_s = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0**self._consecutive_exits)
        self._consecutive_exits = min(self._consecutive_exits + 1, 16)
        self.running, self.ready = False, False
        self.restarts += 1
        self._restart_due_s = now_s + pause_s
        return pause_s

    def is_fatal(self, exit_code: int) -> bool:
        """Whether the exit means that the process can never start."""
        return not self.ever_ready and exit_code in (1, 2)

    def next_action(self, now_s: float) -> Action:
        """Return what to do with the process now."""
        if not self.running:
            return Action.START if now_s >= self._restart_due_s else Action.NOTHING
        timeout_s = LIVENESS_TIMEOUT_S if self.ever_ready else STARTUP_TIMEOUT_S
        if now_s - self._last_alive_s > timeout_s:
            return Action.KILL
        return Action.NOTHING


def describe_exit(exit_code: int) -> str:
    """Return an exit code of `subprocess.Popen` in words."""
    if exit_code < 0:
        return f"was killed by signal {-exit_code}"
    return f"exited with code {exit_code}"
