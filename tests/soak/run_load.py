"""Run the sustained number of cameras, twice as many, and many viewers of one stream.

This process sends pre-encoded camera packets and reads the results; the record lists its CPU beside
that of the services and of other programs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from facestream.common.broker.face_accounting import Sample, from_samples
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.demo_camera import cache_dir

from benchmarks.clip import FPS, numbered_clip
from benchmarks.fake_cameras import CameraBank
from tests.fixtures.stack import Stack, running_stack
from tests.soak.environment import END_S
from tests.soak.probe import Probe
from tests.soak.statistics import counter_increase, fairness, percentiles

VIEWERS, SLOW = 50, 10
_WARM_UP_S = 6.0
_OTHER_SHARE, _MIN_OTHER_S = 0.2, 30.0  # duration of the overload and of the viewer load

Figures = dict[str, Any]
Log = Callable[[str], None]


def run(seconds: float, cameras: int, say: Log) -> Figures:
    """Return a record of `cameras` for `seconds`, then of overload and of viewer load."""
    other_s = max(_MIN_OTHER_S, seconds * _OTHER_SHARE)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        clip = Path(name) / "clip.mp4"
        numbered_clip(ensure_clip(cache_dir(), lambda share: None), 720, 24.0, clip)
        say(f"{cameras} cameras for {seconds:.0f} s")
        carried = _loaded(clip, cameras, seconds)
        say(f"{2 * cameras} cameras for {other_s:.0f} s")
        overload = _loaded(clip, 2 * cameras, other_s)
        say(f"{VIEWERS} viewers of one stream for {other_s:.0f} s")
        crowd = _crowded(clip, other_s)
    return {"seconds": round(seconds), "carried": carried, "overload": overload, "crowd": crowd}


def _loaded(clip: Path, cameras: int, seconds: float) -> Figures:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        bank = held.enter_context(CameraBank({f"camera{i}": clip for i in range(cameras)}))
        stack = held.enter_context(run_stack(bank, folder))
        time.sleep(_WARM_UP_S)
        probe = held.enter_context(Probe(stack, folder, bank.names))
        time.sleep(1.0)
        before, began_s = stack.samples(), time.monotonic()
        cpu, played_s = Cpu(stack), bank.played_s()
        age_from = len(probe.observations.age_s)
        time.sleep(seconds)
        after, took_s = stack.samples(), time.monotonic() - began_s
        sent = (bank.played_s() - played_s) * FPS
        cores = cpu.cores()
        counts = Counts(before, after)
        ages_s = probe.observations.age_s[age_from:]
        ledger = from_samples(after).since(from_samples(before))
        return {
            "cameras": cameras,
            "seconds": round(took_s),
            "frames_sent": sent / (took_s * FPS * cameras),
            "frames_received": counts.total("facestream_capture_frames_total") / sent,
            "searches_a_second": counts.detections(cameras) / took_s / cameras,
            "answer_age_s": percentiles(ages_s, 50, 95, 99, 100),
            "ledger": ledger.as_metrics(),
            "unexplained": ledger.unaccounted,
            "not_searched": counts.by_reason("facestream_capture_frames_dropped_total"),
            "faces_not_sent_or_pushed_out": counts.by_reason(
                "facestream_capture_faces_dropped_total"
            ),
            "fairness": {
                "frames": fairness(counts.by_camera("facestream_capture_frames_total", bank.names)),
                "searches": fairness(
                    np.add(
                        counts.by_camera("facestream_capture_detections_total", bank.names),
                        counts.by_camera("facestream_capture_detections_skipped_total", bank.names),
                    ).tolist()
                ),
                "skipped": fairness(
                    counts.by_camera(
                        "facestream_capture_frames_dropped_total", bank.names, "detector_busy"
                    )
                ),
                "answers": fairness([probe.observations.answered[name] for name in bank.names]),
            },
            "cores": cores,
            "rss_mb": probe.observations.sizes[-1].rss_mb,
        }


def _crowded(clip: Path, seconds: float) -> Figures:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        bank = held.enter_context(CameraBank({"camera0": clip}))
        stack = held.enter_context(run_stack(bank, folder))
        probe = held.enter_context(Probe(stack, folder, bank.names))
        time.sleep(_WARM_UP_S)
        url = f"http://127.0.0.1:{stack.port}/cameras/camera0/stream.mjpg"
        before, cpu = stack.samples(), Cpu(stack)
        command = [sys.executable, "-m", "tests.soak.viewer_load", url, str(VIEWERS), str(SLOW)]
        ended = subprocess.run(
            [*command, str(seconds)], capture_output=True, text=True, timeout=seconds + 60
        )
        cores = cpu.cores()
        viewers: list[Figures] = json.loads(ended.stdout)
        counts = Counts(before, stack.samples())
        quick = [v for v in viewers if not v["slow"]]
        slow = [v for v in viewers if v["slow"]]
        return {
            "seconds": round(seconds),
            "viewers": VIEWERS,
            "slow": SLOW,
            "thrown_out": sum(v["is_out"] for v in viewers),
            "frames_per_second": percentiles([v["frames"] / seconds for v in quick], 0, 50, 100),
            "longest_wait_s": percentiles([v["longest_s"] for v in quick], 50, 100),
            "fairness": fairness([v["frames"] for v in quick]),
            "slow_frames_per_second": percentiles(
                [v["frames"] / seconds for v in slow], 0, 50, 100
            ),
            "frames_skipped": counts.total("facestream_annotator_stream_frames_skipped_total"),
            "answers_a_second": sum(probe.observations.answered.values()) / seconds,
            "cores": cores,
            "rss_mb": probe.observations.sizes[-1].rss_mb,
        }


def run_stack(bank: CameraBank, folder: Path) -> Any:
    """Run a stack that reads the cameras of a bank; the broker's folder is in `folder`."""
    cameras = [part for name in bank.names for part in ("--camera", f"{name}={bank.url(name)}")]
    own = {
        "TMPDIR": str(folder),
        "XDG_DATA_HOME": str(folder),
        "FACESTREAM_MODEL_SERVER_MODELS_DIR": str(Path("models").resolve()),
    }
    return running_stack(*cameras, cache=cache_dir(), environment=own, end_s=END_S)


class Cpu:
    """CPU use by process since construction, in cores."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before, self._at_s = self._spent(), time.monotonic()

    def cores(self) -> dict[str, float]:
        """Return cores by service; `generator`: cameras, readers and viewers; `others`; `idle`."""
        took_s = time.monotonic() - self._at_s
        spent = counter_increase(self._spent(), self._before)
        busy_s, idle_s = spent.pop("busy", 0.0), spent.pop("idle", 0.0)
        spent |= {"others": max(0.0, busy_s - sum(spent.values())), "idle": idle_s}
        return {who: round(s / took_s, 3) for who, s in spent.items()}

    def _spent(self) -> dict[str, float]:
        machine = psutil.cpu_times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        # The time of guest machines is included in `user`.
        all_s = sum(machine) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
        times = {name: psutil.Process(pid).cpu_times() for name, pid in self._stack.parts().items()}
        own = os.times()
        return {
            **{name: time.user + time.system for name, time in times.items()},
            "generator": own.user + own.system + own.children_user + own.children_system,
            "busy": all_s - idle_s,
            "idle": idle_s,
        }


class Counts:
    """Increase of all counters between two snapshots."""

    def __init__(self, before: list[Sample], after: list[Sample]) -> None:
        earlier = {(name, tuple(sorted(labels.items()))): value for name, labels, value in before}
        self._increase = [
            (name, labels, value - earlier.get((name, tuple(sorted(labels.items()))), 0.0))
            for name, labels, value in after
        ]

    def total(self, metric: str) -> float:
        """Return the sum over all labels."""
        return sum(value for name, _, value in self._increase if name == metric)

    def by_reason(self, metric: str) -> dict[str, int]:
        """Return the nonzero sums over all cameras, by reason."""
        sums: dict[str, int] = {}
        for name, labels, value in self._increase:
            if name == metric and value:
                sums[labels["reason"]] = sums.get(labels["reason"], 0) + round(value)
        return sums

    def by_camera(self, metric: str, cameras: list[str], reason: str = "") -> list[float]:
        """Return the sums in the order of `cameras`, optionally of one reason."""
        sums = dict.fromkeys(cameras, 0.0)
        for name, labels, value in self._increase:
            if name == metric and labels["camera"] in sums and reason in ("", labels.get("reason")):
                sums[labels["camera"]] += value
        return list(sums.values())

    def detections(self, cameras: int) -> float:
        """Return the number of detections, including skipped ones."""
        kinds = ("detections", "detections_skipped")
        return sum(self.total(f"facestream_capture_{kind}_total") for kind in kinds)
