"""Runs a program that ends with its parent, whatever ended that: `tether.py PARENT_PID PROGRAM …`.

For programs that cannot watch their parent themselves. On Linux the kernel does it (this process
becomes the program); elsewhere this process stays and watches. Uses nothing but the standard
library, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_POLL_S = 0.25
_EXIT_S = 3.0


def main(arguments: list[str]) -> int:
    """Run `arguments[1:]`, tied to the process `arguments[0]`."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        _become(parent, command)
    return _watch(parent, command)


def _become(parent: int, command: list[str]) -> None:
    import ctypes

    # The signal is the kernel's promise from here on; the check covers the time before.
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        if os.getppid() != parent:
            sys.exit(1)
        os.execv(command[0], command)  # noqa: S606  the program is the caller's choice


def _watch(parent: int, command: list[str]) -> int:
    child = subprocess.Popen(command)  # noqa: S603
    signal.signal(signal.SIGTERM, lambda signum, frame: child.terminate())
    while child.poll() is None:
        if os.getppid() != parent:
            child.terminate()
            try:
                child.wait(_EXIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        time.sleep(_POLL_S)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
