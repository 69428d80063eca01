"""Run one process of the launcher: start it, forward its output, stop it.

The output comes through a pipe, so that every line is redacted, also those of C libraries such as
FFmpeg, and carries the process name. Each process leads its own session: Ctrl-C in the terminal
reaches only the launcher, which then stops the processes in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import IO

from facestream.common.core.errors import StartError
from facestream.common.core.process_lifecycle import PARENT_ENV

MAX_LINE_BYTES = 2000


class ManagedProcess:
    """Process that can be started repeatedly; not thread-safe.

    Args:
        name: prefix of each output line that does not contain it already.
        command: program and arguments. Secrets belong in the environment.
        environment: environment variables of the process.
        on_line: receives each line of output, from a thread.
        standard_input: bytes that the process can read.
        suppress: output lines that contain one of these strings are discarded.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        standard_input: bytes = b"",
        suppress: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._command, self._on_line, self._input = command, on_line, standard_input
        self._suppress = suppress
        self._environment = {**environment, PARENT_ENV: str(os.getpid())}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process ID of the latest start."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process.

        Call it from the main thread: on Linux a child of `die_with_parent` ends with the thread
        that started it.

        Raises:
            StartError: the program cannot be run.
        """
        try:
            process = subprocess.Popen(  # noqa: S603  our own programs
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"{self.name}: cannot be started: {error.strerror}") from None
        self._process = process
        if process.stdin is not None:
            try:
                process.stdin.write(self._input)
                process.stdin.close()
            except OSError:
                pass  # it has exited already; `exit_code` reports that
        threading.Thread(
            target=self._forward_output,
            args=(process.stdout,),
            name=f"log-{self.name}",
            daemon=True,
        ).start()

    def exit_code(self) -> int | None:
        """Return the exit code: None while the process runs, negative after a signal."""
        return self._process.poll() if self._process is not None else None

    def terminate(self) -> None:
        """Send SIGTERM to the process if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and its child processes."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                pass  # all of them have exited

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to exit; return False after the timeout."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _forward_output(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in iter(lambda: pipe.readline(MAX_LINE_BYTES), b""):
                line = raw.decode("utf-8", "replace").rstrip()
                if line and not any(text in line for text in self._suppress):
                    self._on_line(line if self.name in line else f"{self.name}: {line}")
