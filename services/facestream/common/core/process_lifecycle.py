"""Process lifecycle of a service: logging, no core dumps, graceful shutdown, parent monitoring.

`run_service` wraps the `main(stop)` of every service. SIGTERM and SIGINT set `stop`; the service
finishes the work in flight and returns. A service that `facestream up` started also stops when its
parent exits, so that no orphan process remains. A crash writes no memory to disk, because that
memory holds faces.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from facestream.common.core.control_characters import escape_control_characters
from facestream.common.core.errors import FacestreamError
from facestream.common.security.redaction import LogRedaction, redact

PARENT_ENV = "FACESTREAM_PARENT_PID"
_PARENT_POLL_S = 0.5
_MAX_OPEN_FILES = 65_536
_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
SHUTDOWN_TIMEOUT_S = 10.0


class EscapingFormatter(logging.Formatter):
    """Log formatter that escapes control characters; only tracebacks have several lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return escape_control_characters(super().format(record), "\t\n")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  name of the base class
        """Return the line without a traceback."""
        record.message = escape_control_characters(record.message)
        return super().formatMessage(record)


def set_up_logging(service: str, level: str = "info") -> None:
    """Log to standard error: time, level, service, message; lines are redacted and escaped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        EscapingFormatter(f"%(asctime)s %(levelname)-7s {service}: %(message)s", "%H:%M:%S")
    )
    handler.addFilter(LogRedaction())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def disable_core_dumps() -> None:
    """Forbid core dumps of this process, and access to its memory by others of the same user.

    Child processes inherit the size limit of 0, so the embedded broker has it too. The kernel
    ignores that limit where a program such as systemd-coredump receives the dump;
    `PR_SET_DUMPABLE` covers this case. It is reset by `exec`. Only Linux has it; on other systems
    only the limit applies, and Windows has neither.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_open_file_limit() -> int:
    """Raise the soft limit of open files to the hard limit; return the limit in force."""
    try:
        import resource
    except ImportError:  # Windows
        return _MAX_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # the system has a lower limit
        return soft
    return wanted


def stop_event() -> threading.Event:
    """Return an event that SIGTERM, SIGINT or the exit of the parent sets.

    Call it from the main thread. A shutdown that takes longer than `SHUTDOWN_TIMEOUT_S` ends the
    process with exit code 1.
    """
    stop = threading.Event()

    def on_signal(signum: int, frame: object) -> None:
        if not stop.is_set():
            # Start the timer first: `set` deadlocks if the signal arrived while this thread held
            # the lock of the event.
            _exit_after_timeout()
            stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # Set by the launcher for its child processes; not a setting.
    parent = os.environ.pop(PARENT_ENV, None)
    if parent is not None:
        threading.Thread(
            target=_watch_parent, args=(int(parent), stop), name="parent", daemon=True
        ).start()
    return stop


def run_service(service: str, level: str, main: Callable[[threading.Event], None]) -> int:
    """Run `main(stop)` and return the exit code; a `FacestreamError` is printed as one line."""
    disable_core_dumps()
    set_up_logging(service, level)
    stop = stop_event()
    try:
        main(stop)
    except FacestreamError as error:
        print(f"{service}: {escape_control_characters(redact(str(error)))}", file=sys.stderr)
        return error.exit_code
    return 0


def _watch_parent(parent: int, stop: threading.Event) -> None:
    _wait_for_exit(parent)
    while not stop.wait(_PARENT_POLL_S):
        if os.getppid() != parent:
            stop.set()
            _exit_after_timeout()


def _wait_for_exit(parent: int) -> None:
    """Block until the parent process exits; return immediately if the system has no pidfd."""
    try:
        process = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not Linux, not allowed, or already exited
        return
    try:
        if os.getppid() == parent:  # else the pid belongs to another process by now
            select.select([process], [], [])
    finally:
        os.close(process)


def _exit_after_timeout() -> None:
    def exit_now() -> None:
        logging.error("shutdown timed out after %.0f s; exiting", SHUTDOWN_TIMEOUT_S)
        os._exit(1)

    timer = threading.Timer(SHUTDOWN_TIMEOUT_S, exit_now)
    timer.daemon = True
    timer.start()
