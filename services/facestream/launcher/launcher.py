"""`facestream up`: the whole thing on this machine, kept running until it is told to end.

Starts the parts, says when they are ready and where the page is, restarts what dies, and tells of
cameras and first results. One thread (the main one) starts and ends processes; one asks the parts
how they are; one reads the API for news.
"""

from __future__ import annotations

import http.client
import queue
import signal
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from facestream.common.cameras.models import Camera
from facestream.common.core.errors import StartError
from facestream.common.security.redaction import redact
from facestream.launcher.child_process import ManagedProcess
from facestream.launcher.console_updates import ConsoleUpdates
from facestream.launcher.data_dir import data_folder, exclusive_lock
from facestream.launcher.embedded_broker import private_temp_dir
from facestream.launcher.process_specs import (
    KEPT_CAMERAS_ENV,
    ProbeResult,
    ProcessSpec,
    build_process_specs,
)
from facestream.launcher.restart_policy import Action, ProcessState, describe_exit
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import WebEndpoint, resolve_endpoint

_LOOP_S = 0.1
_PROBE_S, _PROBE_STARTING_S = 2.0, 0.2
_NEWS_S = 1.0
# Together below the deadline after which `run_service` ends this process.
_STOP_SERVICES_S, _STOP_LAST_S, _KILLED_S = 5.5, 2.5, 1.0

Say = Callable[[str], None]


class Terminal:
    """Lines for the person who started the stack: redacted, one at a time, never an error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Print a line."""
        self._print(redact(line))

    def show_link(self, line: str) -> None:
        """Print a line that carries the token: the one secret that is meant to be read."""
        self._print(line)

    def _print(self, line: str) -> None:
        with self._lock:
            try:
                print(line, flush=True)
            except OSError:
                pass  # nobody reads it any more


def serve(
    settings: UpSettings,
    stop: threading.Event,
    cameras: list[Camera],
    *,
    demo: bool = False,
    config_file: Path | None = None,
    cameras_file: Path | None = None,
) -> None:
    """Run the stack until `stop` is set.

    Raises:
        StartError: it cannot start: port taken, no model, a part that cannot start.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a closed terminal; not under nohup
        signal.signal(signal.SIGHUP, lambda signum, frame: stop.set())
    terminal = Terminal()
    say = terminal.say
    with private_temp_dir() as folder, exclusive_lock(data_folder()) as is_alone:
        door = resolve_endpoint(settings, folder, config_file)
        parts = build_process_specs(
            settings,
            cameras,
            folder,
            door,
            demo=demo,
            config_file=config_file,
            cameras_file=cameras_file,
            keeps_cameras=is_alone,
        )
        if not is_alone and not any(KEPT_CAMERAS_ENV in part.environment for part in parts):
            say("another one runs for this user: cameras that are added here are not kept")
        if door.link:
            terminal.show_link(f"whoever has this link may look and change cameras: {door.link}")
        stack = _Stack(parts, settings.startup_warning_s, say, stop)
        # People are told of to who looks on; a log must hold nobody.
        news = threading.Thread(
            target=_tell_news, args=(door, say, stop, sys.stdout.isatty()), name="news", daemon=True
        )
        news.start()
        try:
            stack.run(door.display_url)
        finally:
            stop.set()
            stack.end()


class _Stack:
    """The parts as running processes."""

    def __init__(
        self, parts: list[ProcessSpec], startup_warning_s: float, say: Say, stop: threading.Event
    ) -> None:
        self._parts, self._say, self._stop = parts, say, stop
        self._ready_timeout_s = startup_warning_s
        self._states = {part.name: ProcessState() for part in parts}
        self._processes = {
            part.name: ManagedProcess(
                part.name, part.command, part.environment, say, part.standard_input, part.suppress
            )
            for part in parts
        }
        self._answers: queue.SimpleQueue[tuple[str, int | None, ProbeResult]] = queue.SimpleQueue()
        self._missing: dict[str, str] = {}

    def run(self, address: str) -> None:
        """Keep the parts running until told to stop."""
        threading.Thread(target=self._probe_loop, name="probe", daemon=True).start()
        began_s = time.monotonic()
        announced = complained = False
        self._say(f"starting {', '.join(part.name for part in self._parts)}")
        while not self._stop.wait(_LOOP_S):
            now_s = time.monotonic()
            self._take_answers(now_s)
            for part in self._parts:
                self._supervise(part, now_s)
            if not announced and all(state.ever_ready for state in self._states.values()):
                announced = True
                self._say(f"ready after {now_s - began_s:.1f} s: {address}   (Ctrl-C ends it)")
            elif not announced and not complained and now_s - began_s > self._ready_timeout_s:
                complained = True
                self._say(f"{self._what_is_missing()}; still trying, {address}")

    def end(self) -> None:
        """End every process: first those that work, then those that they need."""
        self._say("ending")
        workers = [self._processes[part.name] for part in self._parts if not part.stop_last]
        needed = [self._processes[part.name] for part in self._parts if part.stop_last]
        for group, within_s in ((workers, _STOP_SERVICES_S), (needed, _STOP_LAST_S)):
            deadline_s = time.monotonic() + within_s
            for process in group:
                process.terminate()
            for process in group:
                process.wait(deadline_s - time.monotonic())
                process.kill()
        for process in (*workers, *needed):
            process.wait(_KILLED_S)

    def _supervise(self, part: ProcessSpec, now_s: float) -> None:
        state, process = self._states[part.name], self._processes[part.name]
        exit_code = process.exit_code()
        if state.running and exit_code is not None:
            if state.is_fatal(exit_code):
                raise StartError(f"{part.name} cannot start, see above")
            pause_s = state.on_exit(now_s)
            self._say(
                f"{part.name} {describe_exit(exit_code)}; starting it again in {pause_s:.2g} s"
            )
        step = state.next_action(now_s)
        if step is Action.KILL:
            self._say(f"{part.name} gives no sign of life; killing it")
            process.kill()
        elif step is Action.START and all(
            self._states[name].ever_ready for name in part.start_after
        ):
            process.start()
            state.started(now_s)

    def _take_answers(self, now_s: float) -> None:
        while True:
            try:
                name, pid, answer = self._answers.get_nowait()
            except queue.Empty:
                return
            state = self._states[name]
            if not state.running or pid != self._processes[name].pid:
                continue  # said by the process before this one
            self._missing[name] = answer.missing
            if answer.alive:
                back = answer.ready and not state.ready and state.restarts > 0
                state.on_probe_ok(now_s, ready=answer.ready)
                if back:
                    self._say(f"{name} is back")

    def _probe_loop(self) -> None:
        next_s = dict.fromkeys(self._states, 0.0)
        while not self._stop.wait(_LOOP_S):
            for part in self._parts:
                state, pid = self._states[part.name], self._processes[part.name].pid
                if not state.running or time.monotonic() < next_s[part.name]:
                    continue
                try:
                    answer = part.probe()
                except Exception as error:  # were this thread to end, every part would seem stuck
                    answer = ProbeResult(False, f"{type(error).__name__}: {error}")
                self._answers.put((part.name, pid, answer))
                pause_s = _PROBE_S if answer.ready else _PROBE_STARTING_S
                next_s[part.name] = time.monotonic() + pause_s

    def _what_is_missing(self) -> str:
        waiting = [name for name, state in self._states.items() if not state.ever_ready]
        reasons = ", ".join(f"{name} ({self._missing.get(name) or 'starting'})" for name in waiting)
        return f"not ready after {self._ready_timeout_s:.0f} s: {reasons}"


def _tell_news(door: WebEndpoint, say: Say, stop: threading.Event, tells_people: bool) -> None:
    news = ConsoleUpdates()
    while not stop.wait(_NEWS_S):
        try:
            cameras = door.get("/api/cameras")
            for line in news.camera_lines(cameras):
                say(line)
            for camera in cameras if tells_people and news.wants_people else []:
                name = camera["name"]
                people = door.get(f"/api/cameras/{urllib.parse.quote(name)}/people")
                for line in news.people_lines(name, people):
                    say(line)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            continue  # the annotator is away, or starting; the supervisor says so
