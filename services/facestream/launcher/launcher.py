"""Run `facestream up`: start all services on this machine and supervise them until stopped.

Prints when the services are ready and the web UI's URL, restarts processes that exit, and reports
camera states and the first people. The main thread starts and stops processes. One thread probes
them, another polls the API for console updates.
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
from facestream.common.core.control_characters import escape_control_characters
from facestream.common.core.errors import StartError
from facestream.common.security.redaction import redact
from facestream.launcher.child_process import ManagedProcess
from facestream.launcher.console_updates import ConsoleUpdates
from facestream.launcher.data_dir import data_dir, exclusive_lock
from facestream.launcher.embedded_broker import private_temp_dir
from facestream.launcher.probes import ProbeResult
from facestream.launcher.process_specs import CAMERA_STATE_ENV, ProcessSpec, build_process_specs
from facestream.launcher.restart_policy import Action, ProcessState, describe_exit
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import WebEndpoint, resolve_endpoint

_LOOP_INTERVAL_S = 0.1
_PROBE_INTERVAL_S, _STARTUP_PROBE_INTERVAL_S = 2.0, 0.2
_CONSOLE_INTERVAL_S = 1.0
# Their sum is below the deadline at which `run_service` kills this process.
_STOP_TIMEOUT_S, _STOP_LAST_TIMEOUT_S, _KILL_TIMEOUT_S = 5.5, 2.5, 1.0

PrintLine = Callable[[str], None]


class Terminal:
    """Thread-safe printer of redacted lines; ignores a closed terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def print_line(self, line: str) -> None:
        """Print a line without secrets."""
        self._print(redact(line))

    def print_secret_line(self, line: str) -> None:
        """Print a line unredacted: the admin link, which the user must see."""
        self._print(line)

    def _print(self, line: str) -> None:
        with self._lock:
            try:
                print(escape_control_characters(line), flush=True)
            except OSError:
                pass  # the terminal is closed


def serve(
    settings: UpSettings,
    stop: threading.Event,
    cameras: list[Camera],
    *,
    demo: bool = False,
    config_file: Path | None = None,
    cameras_file: Path | None = None,
) -> None:
    """Run all services until `stop` is set.

    Raises:
        StartError: a port is taken, no model exists, or a service cannot start.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, lambda signum, frame: stop.set())
    terminal = Terminal()
    print_line = terminal.print_line
    with private_temp_dir() as folder, exclusive_lock(data_dir()) as is_exclusive:
        endpoint = resolve_endpoint(settings, folder, config_file)
        specs = build_process_specs(
            settings,
            cameras,
            folder,
            endpoint,
            demo=demo,
            config_file=config_file,
            cameras_file=cameras_file,
            persists_cameras=is_exclusive,
        )
        if not is_exclusive and not any(CAMERA_STATE_ENV in spec.environment for spec in specs):
            print_line("another `facestream up` of this user is running: new cameras are not saved")
        if endpoint.admin_link:
            terminal.print_secret_line(f"Admin link (grants full access): {endpoint.admin_link}")
        supervisor = _Supervisor(specs, settings.startup_warning_s, print_line, stop)
        # A log file must not contain people, so only a terminal shows them.
        threading.Thread(
            target=_print_console_updates,
            args=(endpoint, print_line, stop, sys.stdout.isatty()),
            name="console",
            daemon=True,
        ).start()
        try:
            supervisor.run(endpoint.display_url)
        finally:
            stop.set()
            supervisor.stop_all()


class _Supervisor:
    """Supervisor of the running processes."""

    def __init__(
        self,
        specs: list[ProcessSpec],
        startup_warning_s: float,
        print_line: PrintLine,
        stop: threading.Event,
    ) -> None:
        self._specs, self._print, self._stop = specs, print_line, stop
        self._startup_warning_s = startup_warning_s
        self._states = {spec.name: ProcessState() for spec in specs}
        self._processes = {
            spec.name: ManagedProcess(
                spec.name,
                spec.command,
                spec.environment,
                print_line,
                spec.standard_input,
                spec.suppress,
            )
            for spec in specs
        }
        self._probes: queue.SimpleQueue[tuple[str, int | None, ProbeResult]] = queue.SimpleQueue()
        self._missing: dict[str, str] = {}

    def run(self, url: str) -> None:
        """Keep the processes running until stopped.

        Raises:
            StartError: a process cannot start.
        """
        threading.Thread(target=self._probe_loop, name="probe", daemon=True).start()
        started_s = time.monotonic()
        is_announced = is_warned = False
        self._print(f"starting {', '.join(spec.name for spec in self._specs)}")
        while not self._stop.wait(_LOOP_INTERVAL_S):
            now_s = time.monotonic()
            self._apply_probes(now_s)
            for spec in self._specs:
                self._supervise(spec, now_s)
            if not is_announced and all(state.ever_ready for state in self._states.values()):
                is_announced = True
                self._print(f"ready after {now_s - started_s:.1f} s: {url}   (Ctrl-C to stop)")
            elif not (is_announced or is_warned) and now_s - started_s > self._startup_warning_s:
                is_warned = True
                self._print(f"{self._describe_missing()}; still trying, {url}")

    def stop_all(self) -> None:
        """Stop every process; those that others depend on, last."""
        self._print("stopping")
        first = [self._processes[spec.name] for spec in self._specs if not spec.stop_last]
        last = [self._processes[spec.name] for spec in self._specs if spec.stop_last]
        for group, timeout_s in ((first, _STOP_TIMEOUT_S), (last, _STOP_LAST_TIMEOUT_S)):
            deadline_s = time.monotonic() + timeout_s
            for process in group:
                process.terminate()
            for process in group:
                process.wait(deadline_s - time.monotonic())
                process.kill()
        for process in (*first, *last):
            process.wait(_KILL_TIMEOUT_S)

    def _supervise(self, spec: ProcessSpec, now_s: float) -> None:
        state, process = self._states[spec.name], self._processes[spec.name]
        exit_code = process.exit_code()
        if state.running and exit_code is not None:
            if state.is_fatal(exit_code):
                raise StartError(f"{spec.name} cannot start; see its error above")
            pause_s = state.on_exit(now_s)
            self._print(f"{spec.name} {describe_exit(exit_code)}; restarting in {pause_s:.2g} s")
        action = state.next_action(now_s)
        if action is Action.KILL:
            self._print(f"{spec.name} is not responding; restarting it")
            process.kill()
        elif action is Action.START and all(
            self._states[name].ever_ready for name in spec.start_after
        ):
            process.start()
            state.on_start(now_s)

    def _apply_probes(self, now_s: float) -> None:
        while True:
            try:
                name, pid, result = self._probes.get_nowait()
            except queue.Empty:
                return
            state = self._states[name]
            if not state.running or pid != self._processes[name].pid:
                continue  # result of an earlier process
            self._missing[name] = result.missing
            if result.alive:
                is_ready_again = result.ready and not state.ready and state.restarts > 0
                state.on_probe_ok(now_s, ready=result.ready)
                if is_ready_again:
                    self._print(f"{name} is ready again")

    def _probe_loop(self) -> None:
        due_s = dict.fromkeys(self._states, 0.0)
        while not self._stop.wait(_LOOP_INTERVAL_S):
            for spec in self._specs:
                state, pid = self._states[spec.name], self._processes[spec.name].pid
                if not state.running or time.monotonic() < due_s[spec.name]:
                    continue
                try:
                    result = spec.probe()
                except Exception as error:  # without this thread every process would seem stuck
                    result = ProbeResult(False, f"{type(error).__name__}: {error}")
                self._probes.put((spec.name, pid, result))
                interval_s = _PROBE_INTERVAL_S if result.ready else _STARTUP_PROBE_INTERVAL_S
                due_s[spec.name] = time.monotonic() + interval_s

    def _describe_missing(self) -> str:
        waiting = [name for name, state in self._states.items() if not state.ever_ready]
        reasons = ", ".join(f"{name} ({self._missing.get(name) or 'starting'})" for name in waiting)
        return f"not ready after {self._startup_warning_s:.0f} s: {reasons}"


def _print_console_updates(
    endpoint: WebEndpoint, print_line: PrintLine, stop: threading.Event, shows_people: bool
) -> None:
    updates = ConsoleUpdates()
    while not stop.wait(_CONSOLE_INTERVAL_S):
        try:
            cameras = endpoint.get("/api/cameras")
            for line in updates.camera_lines(cameras):
                print_line(line)
            for camera in cameras if shows_people and updates.wants_people else []:
                name = camera["name"]
                people = endpoint.get(f"/api/cameras/{urllib.parse.quote(name)}/people")
                for line in updates.people_lines(name, people):
                    print_line(line)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            continue  # the annotator is unavailable; the supervisor reports that
