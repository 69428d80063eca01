"""One part of the stack as a process: start, lines out, stop.

Its output comes through a pipe, so that every line is redacted, whoever wrote it (FFmpeg too), and
carries the part's name. It leads a session of its own: a Ctrl-C in the terminal reaches only the
supervisor, which then ends the parts in order.
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
    """A process that can be started again and again; used from one thread.

    Args:
        name: put before each of its lines that does not carry it.
        command, environment: of the process; secrets belong into the environment.
        say: is given each line of its output.
        standard_input: what it may read.
        chatter: lines that contain one of these are not passed on.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
        standard_input: bytes = b"",
        chatter: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._command, self._say, self._input = command, say, standard_input
        self._chatter = chatter
        self._environment = {**environment, PARENT_ENV: str(os.getpid())}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it. The main thread's task: on Linux a tethered child dies with the thread.

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
                pass  # it is dead already; `exit_code` will say so
        threading.Thread(
            target=self._forward, args=(process.stdout,), name=f"log-{self.name}", daemon=True
        ).start()

    def exit_code(self) -> int | None:
        """How it ended: None while it runs, negative for a signal."""
        return self._process.poll() if self._process is not None else None

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and whatever it may have started."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                pass  # nothing left of it

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _forward(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in iter(lambda: pipe.readline(MAX_LINE_BYTES), b""):
                line = raw.decode("utf-8", "replace").rstrip()
                if line and not any(word in line for word in self._chatter):
                    self._say(line if self.name in line else f"{self.name}: {line}")
