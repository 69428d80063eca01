"""Process lifecycle: a service stops on SIGTERM and with its parent."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facestream.common.core.process_lifecycle import EscapingFormatter

SERVICE = """
import sys
from facestream.common.core.errors import StartError
from facestream.common.core.process_lifecycle import run_service
def main(stop):
    if "refuse" in sys.argv:
        raise StartError("no camera at rtsp://ann:hidden-word@host; plug one in")
    print("up", flush=True)
    if "dumpable" in sys.argv:
        import ctypes
        print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)  # PR_GET_DUMPABLE
    stop.wait(20)
sys.exit(run_service("demo", "info", main))
"""


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )


def test_sigterm_ends_a_service_with_exit_code_0() -> None:
    with start() as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "up\n"
        service.send_signal(signal.SIGTERM)
        assert service.wait(5) == 0


def test_an_error_is_one_line_without_its_password() -> None:
    with start("refuse") as service:
        _, error = service.communicate(timeout=10)
        assert service.returncode == 1
    assert error == "demo: no camera at rtsp://ann:***@host; plug one in\n"


def test_a_service_ends_when_its_parent_exits() -> None:
    # The pid is not that of its parent, so the service finds that its parent has exited.
    with start(env={"FACESTREAM_PARENT_PID": "1"}) as service:
        started = time.monotonic()
        assert service.wait(10) == 0
        assert time.monotonic() - started < 8


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
def test_control_characters_in_log_lines_are_escaped(level: int) -> None:
    reason = "\x1b[2J\x1b]0;title\x07\r\n12:00:00 INFO forged \x9b31m \u202e"
    record = logging.LogRecord("x", level, "", 0, "camera door: %s", (reason,), None)
    try:
        raise OSError("\x1b[31m")
    except OSError:
        record.exc_info = sys.exc_info()
    lines = EscapingFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert "\\x1b[2J\\x1b]0;title\\x07\\r\\n12:00:00 INFO forged \\x9b31m \\u202e" in lines[0]
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "OSError: \\x1b[31m"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_service_writes_no_core_dump() -> None:
    with start("dumpable") as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "up\n"
        assert service.stdout.readline() == "0\n"
        limits = Path(f"/proc/{service.pid}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        service.send_signal(signal.SIGTERM)
        assert service.wait(5) == 0
