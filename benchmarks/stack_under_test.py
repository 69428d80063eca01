"""The stack under test, as real processes, and what they cost: CPU, memory, metrics.

Started from the same plan as `facestream up`, without its supervisor: a part that dies during a
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
class Reading:
    """The state of the counters at one moment.

    cpu_s: CPU seconds of each process so far; metrics: name to the sum over its labels, but for
    `name:step` where it has steps, and `name:reason` where it has reasons.
    """

    at_s: float
    cpu_s: dict[str, float]
    metrics: dict[str, float]

    def since(self, earlier: Reading) -> Reading:
        """What was added between two readings."""
        return Reading(
            self.at_s - earlier.at_s,
            {name: value - earlier.cpu_s[name] for name, value in self.cpu_s.items()},
            {k: v - earlier.metrics.get(k, 0.0) for k, v in self.metrics.items()},
        )


@dataclass
class Rig:
    """The stack with these cameras; a context manager. `lines` keeps the last of what it said."""

    cameras: dict[str, str]
    folder: Path
    port: int
    lines: list[str] = field(default_factory=list)
    start_s: float = 0.0  # from the first process to everything ready

    def __enter__(self) -> Rig:
        settings = UpSettings(port=self.port, broker=SecretStr("embedded"))
        cameras = [Camera.parse(f"{name}={url}") for name, url in self.cameras.items()]
        self._parts = build_process_specs(
            settings,
            cameras,
            self.folder,
            resolve_endpoint(settings, self.folder, None),
            demo=False,
        )
        self._processes: dict[str, ManagedProcess] = {}
        counts = str(self.folder / "counts.sqlite3")
        kept = str(self.folder / f"cameras-{self.port}.json")
        started = time.monotonic()
        try:
            for part in self._parts:
                process = ManagedProcess(
                    part.name,
                    part.command,
                    # What is measured is nobody's count; its cameras are on this machine.
                    {
                        **part.environment,
                        "FACESTREAM_ANNOTATOR_COUNTS_DB_FILE": counts,
                        "FACESTREAM_CAPTURE_CAMERA_STATE_FILE": kept,
                        "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES": "true",
                    },
                    self._keep,
                    standard_input=part.standard_input,
                )
                self._processes[part.name] = process
                process.start()
                if part.name == "broker":
                    self._wait_for(part)
            for part in self._parts:
                self._wait_for(part)
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
        """Base address of the annotator."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def broker_url(self) -> str:
        """Of the embedded broker."""
        return broker_url(self.folder)

    def read(self) -> Reading:
        """CPU and metrics of every part, now."""
        metrics: dict[str, float] = {}
        for base in self._metric_addresses():
            for family in text_string_to_metric_families(_get(f"{base}/metrics")):
                for sample in family.samples:
                    part = sample.labels.get("stage") or sample.labels.get("reason")
                    name = f"{sample.name}:{part}" if part else sample.name
                    metrics[name] = metrics.get(name, 0.0) + sample.value
        return Reading(
            time.monotonic(), {n: self._cpu_s(p) for n, p in self._processes.items()}, metrics
        )

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each process, megabytes (10⁶)."""
        return {
            name: psutil.Process(process.pid).memory_info().rss / 1e6
            for name, process in self._processes.items()
        }

    def _metric_addresses(self) -> list[str]:
        found = []
        for part in self._parts:
            key = f"FACESTREAM_{part.name.upper().replace('-', '_')}_HEALTH_PORT"
            if key in part.environment:
                found.append(f"http://127.0.0.1:{part.environment[key]}")
        return found

    def _cpu_s(self, process: ManagedProcess) -> float:
        if process.exit_code() is not None:
            raise StartError(f"{process.name} died during the measurement: {self.lines[-3:]}")
        family = psutil.Process(process.pid)
        times = [p.cpu_times() for p in (family, *family.children(recursive=True))]
        return sum(t.user + t.system for t in times)

    def _keep(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-50]

    def _wait_for(self, part: ProcessSpec) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not (answer := part.probe()).ready:
            if time.monotonic() > deadline or self._processes[part.name].exit_code() is not None:
                raise StartError(f"{part.name} did not start: {answer.missing}; {self.lines[-3:]}")
            time.sleep(_PROBE_S)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text
