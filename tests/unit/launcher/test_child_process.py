from __future__ import annotations

import os
import sys

import pytest
from facestream.common.core.errors import StartError
from facestream.launcher.child_process import ManagedProcess

from tests.fixtures.polling import wait_for


def python(code: str, lines: list[str], **more: object) -> ManagedProcess:
    command = [sys.executable, "-I", "-S", "-c", code]
    return ManagedProcess("part", command, dict(os.environ), lines.append, **more)  # type: ignore[arg-type]


def test_output_lines_carry_the_process_name() -> None:
    lines: list[str] = []
    process = python(
        "import sys; print('a'); print('part: b', file=sys.stderr); sys.exit(3)", lines
    )
    process.start()
    assert process.wait(10)
    wait_for(lambda: len(lines) == 2, "two lines", 5)
    assert sorted(lines) == ["part: a", "part: b"]
    assert process.exit_code() == 3


def test_process_reads_its_input_and_can_be_restarted() -> None:
    lines: list[str] = []
    process = python("print(input())", lines, standard_input=b"hello\n")
    for _ in range(2):
        process.start()
        assert process.wait(10)
    wait_for(lambda: lines == ["part: hello"] * 2, "two lines", 5)


def test_suppressed_lines_are_discarded_and_long_lines_are_cut() -> None:
    lines: list[str] = []
    process = python("print('small talk'); print('x' * 5000)", lines, suppress=("small",))
    process.start()
    assert process.wait(10)
    wait_for(lambda: "".join(lines).count("x") == 5000, "all characters", 5)
    assert max(map(len, lines)) < 2100


def test_process_that_ignores_sigterm_is_killed() -> None:
    lines: list[str] = []
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    process = python(code + "while True: time.sleep(1)", lines)
    process.start()
    wait_for(lambda: lines, "its first line", 10)
    process.terminate()
    assert not process.wait(0.3)
    process.kill()
    assert process.wait(5)
    assert process.exit_code() == -9


def test_missing_program_is_reported_in_one_line() -> None:
    process = ManagedProcess("part", ["/no/such/program"], {}, print)
    with pytest.raises(StartError, match="part: cannot be started: No such file"):
        process.start()
