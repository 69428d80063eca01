"""Run all services as real processes and read their CPU, memory and metrics.

Uses the process specs of `facestream up` without its restarts: a process that dies during a
measurement ends the measurement.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import StartError
from facestream.launcher.child_process import ManagedProcess
from facestream.launcher.embedded_broker import broker_url
from facestream.launcher.process_specs import ProcessSpec, build_process_specs
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import resolve_endpoint
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

_READY_TIMEOUT_S = 60.0
_PROBE_S = 0.1
_HTTP_TIMEOUT_S = 5.0
SERVICES = ("broker", "model-server", "capture", "worker", "annotator")


@dataclass(frozen=True, slots=True)
class CounterSnapshot:
    """Values of all counters at one time.

    cpu_s: CPU seconds of each process so far. metrics: sum over all labels by name, except that
    metrics with a stage or a reason are summed as `name:stage` or `name:reason`.
    """

    time_s: float
    cpu_s: dict[str, float]
    metrics: dict[str, float]

    def since(self, earlier: CounterSnapshot) -> CounterSnapshot:
        """Return the increase between two snapshots."""
        return CounterSnapshot(
            self.time_s - earlier.time_s,
            {name: value - earlier.cpu_s[name] for name, value in self.cpu_s.items()},
            {k: v - earlier.metrics.get(k, 0.0) for k, v in self.metrics.items()},
        )


@dataclass
class StackUnderTest:
    """All services with these cameras; a context manager. `lines` holds the last log lines."""

    cameras: dict[str, str]
    folder: Path
    port: int
    lines: list[str] = field(default_factory=list)
    start_s: float = 0.0  # from the first process to everything ready

    def __enter__(self) -> StackUnderTest:
        settings = UpSettings(port=self.port, broker=SecretStr("embedded"))
        cameras = [Camera.parse(f"{name}={url}") for name, url in self.cameras.items()]
        self._specs = build_process_specs(
            settings,
            cameras,
            self.folder,
            resolve_endpoint(settings, self.folder, None),
            demo=False,
        )
        self._processes: dict[str, ManagedProcess] = {}
        counts = str(self.folder / "counts.sqlite3")
        camera_state = str(self.folder / f"cameras-{self.port}.json")
        started = time.monotonic()
        try:
            for spec in self._specs:
                process = ManagedProcess(
                    spec.name,
                    spec.command,
                    # Keep the counts and cameras of the benchmark apart from the user's own.
                    {
                        **spec.environment,
                        "FACESTREAM_ANNOTATOR_COUNTS_DB_FILE": counts,
                        "FACESTREAM_CAPTURE_CAMERA_STATE_FILE": camera_state,
                        "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES": "true",
                    },
                    self._append_line,
                    standard_input=spec.standard_input,
                )
                self._processes[spec.name] = process
                process.start()
                if spec.name == "broker":
                    self._wait_for(spec)
            for spec in self._specs:
                self._wait_for(spec)
        except BaseException:
            self.__exit__()
            raise
        self.start_s = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            if not process.wait(10):
                process.kill()

    @property
    def url(self) -> str:
        """Base URL of the annotator."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def broker_url(self) -> str:
        """URL of the embedded broker."""
        return broker_url(self.folder)

    def read(self) -> CounterSnapshot:
        """Read CPU and metrics of every process."""
        metrics: dict[str, float] = {}
        for base in self._metric_addresses():
            for family in text_string_to_metric_families(_get(f"{base}/metrics")):
                for sample in family.samples:
                    label = sample.labels.get("stage") or sample.labels.get("reason")
                    name = f"{sample.name}:{label}" if label else sample.name
                    metrics[name] = metrics.get(name, 0.0) + sample.value
        return CounterSnapshot(
            time.monotonic(), {n: self._cpu_s(p) for n, p in self._processes.items()}, metrics
        )

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of each process in MB (10⁶ bytes)."""
        return {
            name: psutil.Process(process.pid).memory_info().rss / 1e6
            for name, process in self._processes.items()
        }

    def _metric_addresses(self) -> list[str]:
        found = []
        for spec in self._specs:
            key = f"FACESTREAM_{spec.name.upper().replace('-', '_')}_HEALTH_PORT"
            if key in spec.environment:
                found.append(f"http://127.0.0.1:{spec.environment[key]}")
        return found

    def _cpu_s(self, process: ManagedProcess) -> float:
        if process.exit_code() is not None:
            raise StartError(f"{process.name} died during the measurement: {self.lines[-3:]}")
        root = psutil.Process(process.pid)
        times = [p.cpu_times() for p in (root, *root.children(recursive=True))]
        return sum(t.user + t.system for t in times)

    def _append_line(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-50]

    def _wait_for(self, spec: ProcessSpec) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not (result := spec.probe()).ready:
            if time.monotonic() > deadline or self._processes[spec.name].exit_code() is not None:
                raise StartError(f"{spec.name} did not start: {result.missing}; {self.lines[-3:]}")
            time.sleep(_PROBE_S)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S) as response:
        text: str = response.read().decode()
        return text
