"""When to start, restart or give up on a part of the stack.

Pure: events and a clock in, decisions out. A part that dies is started again, soon the first time
and with growing pauses while it keeps dying; never given up once it has been ready. A part that
says itself (exit code 1 or 2) that it cannot start, before it ever was ready, would not the second
time either: that ends the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0
STEADY_S = 20.0  # having run so long, a part's earlier deaths are forgotten
SILENT_LIMIT_S = 30.0  # not alive by its own word for so long: it is stuck
START_LIMIT_S = 300.0  # the same before it was ready the first time, on a slow machine


class Action(Enum):
    """What to do with a part now."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"


@dataclass(slots=True)
class ProcessState:
    """One part's life so far. Times are seconds of any steady clock."""

    running: bool = False
    ever_ready: bool = False
    ready: bool = False
    restarts: int = 0
    _deaths_in_a_row: int = 0
    _started_s: float = 0.0
    _due_s: float = 0.0
    _heard_s: float = 0.0

    def started(self, now_s: float) -> None:
        """Its process was started."""
        self.running, self.ready = True, False
        self._started_s = self._heard_s = now_s

    def on_probe_ok(self, now_s: float, *, ready: bool) -> None:
        """It said that it is alive, and whether it is ready."""
        self._heard_s = now_s
        self.ready = ready
        self.ever_ready = self.ever_ready or ready

    def on_exit(self, now_s: float) -> float:
        """Its process ended; returns the pause before the next start, in seconds."""
        if now_s - self._started_s >= STEADY_S:
            self._deaths_in_a_row = 0
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self._deaths_in_a_row)
        self._deaths_in_a_row = min(self._deaths_in_a_row + 1, 16)
        self.running, self.ready = False, False
        self.restarts += 1
        self._due_s = now_s + pause_s
        return pause_s

    def is_fatal(self, exit_code: int) -> bool:
        """It never was ready and says itself that it cannot start."""
        return not self.ever_ready and exit_code in (1, 2)

    def next_action(self, now_s: float) -> Action:
        """What to do with it now."""
        if not self.running:
            return Action.START if now_s >= self._due_s else Action.NOTHING
        limit_s = SILENT_LIMIT_S if self.ever_ready else START_LIMIT_S
        if now_s - self._heard_s > limit_s:
            return Action.KILL
        return Action.NOTHING


def describe_exit(exit_code: int) -> str:
    """An exit code as Popen gives it, in words."""
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with code {exit_code}"
