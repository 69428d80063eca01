"""How a service starts, is told to stop, and ends: logging, signals, the parent's death.

`run_service` is the frame around every service's `main(stop)`: SIGTERM and SIGINT set `stop`; the
service finishes what is in hand and returns. A service started by `facestream up` also stops when
its parent has gone, so nothing is left behind whatever killed the parent.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from facestream.common.core.errors import FacestreamError
from facestream.common.security.redaction import LogRedaction, redact

PARENT_ENV = "FACESTREAM_PARENT_PID"
_PARENT_POLL_S = 0.5
EXIT_DEADLINE_S = 10.0


def set_up_logging(service: str, level: str = "info") -> None:
    """Log lines to standard error: time, level, service, message; every one redacted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s %(levelname)-7s {service}: %(message)s", "%H:%M:%S")
    )
    handler.addFilter(LogRedaction())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def stop_event() -> threading.Event:
    """An event that SIGTERM, SIGINT or the parent's death sets. Call from the main thread.

    A stop that takes longer than `EXIT_DEADLINE_S` ends the process all the same, with exit code 1.
    """
    stop = threading.Event()

    def on_signal(signum: int, frame: object) -> None:
        if not stop.is_set():
            # First: where the signal came while this thread held the event's lock, `set` hangs.
            _end_at_deadline()
            stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # Not a setting of any service: the supervisor's private word to its child.
    parent = os.environ.pop(PARENT_ENV, None)
    if parent is not None:
        threading.Thread(
            target=_watch_parent, args=(int(parent), stop), name="parent", daemon=True
        ).start()
    return stop


def run_service(service: str, level: str, main: Callable[[threading.Event], None]) -> int:
    """Run `main(stop)` to its end; returns the exit code. Errors of ours become one line."""
    set_up_logging(service, level)
    stop = stop_event()
    try:
        main(stop)
    except FacestreamError as error:
        print(f"{service}: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


def _watch_parent(parent: int, stop: threading.Event) -> None:
    _wait_for_end(parent)
    while not stop.wait(_PARENT_POLL_S):
        if os.getppid() != parent:
            stop.set()
            _end_at_deadline()


def _wait_for_end(parent: int) -> None:
    """Sleep until this process, our parent, has ended; at once where the system cannot tell."""
    try:
        process = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not Linux, not allowed, or gone already
        return
    try:
        if os.getppid() == parent:  # else the number is somebody else's by now
            select.select([process], [], [])
    finally:
        os.close(process)


def _end_at_deadline() -> None:
    def end() -> None:
        logging.error("still not stopped after %.0f s, ending", EXIT_DEADLINE_S)
        os._exit(1)

    timer = threading.Timer(EXIT_DEADLINE_S, end)
    timer.daemon = True
    timer.start()
