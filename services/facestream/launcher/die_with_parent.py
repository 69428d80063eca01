"""Run a program that dies with its parent process: `die_with_parent.py PARENT_PID PROGRAM …`.

For programs that cannot watch their parent themselves, even when the parent is killed. On Linux the
kernel does it (PR_SET_PDEATHSIG) and this process becomes the program. Elsewhere this process polls
its parent. It imports only the standard library, so that it starts in less than 0.1 s.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_POLL_INTERVAL_S = 0.25
_EXIT_TIMEOUT_S = 3.0


def main(arguments: list[str]) -> int:
    """Run the command `arguments[1:]` until the process `arguments[0]` dies."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        _exec_with_death_signal(parent_pid, command)
    return _poll_parent(parent_pid, command)


def _exec_with_death_signal(parent_pid: int, command: list[str]) -> None:
    import ctypes

    # The kernel sends the signal from here on; the check covers a parent that died before.
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        if os.getppid() != parent_pid:
            sys.exit(1)
        os.execv(command[0], command)  # noqa: S606  the caller chooses the program


def _poll_parent(parent_pid: int, command: list[str]) -> int:
    child = subprocess.Popen(command)  # noqa: S603
    signal.signal(signal.SIGTERM, lambda signum, frame: child.terminate())
    while child.poll() is None:
        if os.getppid() != parent_pid:
            child.terminate()
            try:
                child.wait(_EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        time.sleep(_POLL_INTERVAL_S)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
