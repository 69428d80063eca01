"""One benchmark run: rounds of this pipeline and the plain way in turn, then how many cameras fit.

Figures are CPU time of whole process trees, so that another program on the machine disturbs them
little; the two ways alternate, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from services.common.errors import StartError
from services.common.savedmodel import MODELS_DIR, newest_version
from services.stack.demo_camera import cache_folder
from services.stack.demo_clip import ensure_clip
from services.stack.parts import ROOT
from tests.bench.camera_bank import CameraBank
from tests.bench.clip import FPS, numbered_clip
from tests.bench.rig import SERVICES, Reading, Rig
from tests.bench.viewers import Listener, Viewer

HEIGHT_PX = 720
_SETTLE_S = 4.0
_LATE_S = 0.05  # p95 lateness up to which a number of streams counts as carried
_MIN_RATE = 0.98  # of the frames that were sent
_EXTRA_VIEWERS = 4

Say = Callable[[str], None]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extent:
    """How long and how often is measured."""

    rounds: int
    window_s: float
    stream_counts: tuple[int, ...]
    streams_window_s: float


QUICK = Extent(rounds=1, window_s=12.0, stream_counts=(6, 12), streams_window_s=6.0)
FULL = Extent(rounds=3, window_s=24.0, stream_counts=(4, 8, 12, 16, 20, 24), streams_window_s=15.0)


def measure(extent: Extent, clip: Path | None, model: Path | None, say: Say) -> Figures:
    """All figures of one run; the shape is that of the JSON file, every value a list of rounds."""
    model = newest_version(model or MODELS_DIR / "age_gender")
    source = clip or ensure_clip(cache_folder(), lambda share: None)
    with tempfile.TemporaryDirectory(prefix="facestream-bench-") as name:
        folder = Path(name)
        numbered = folder / "numbered.mp4"
        pictures = numbered_clip(source, HEIGHT_PX, numbered)
        say(f"clip: {source.name}, {pictures} pictures, {HEIGHT_PX}p at {FPS}/s")
        rounds: list[Figures] = []
        for number in range(1, extent.rounds + 1):
            say(f"round {number} of {extent.rounds}: this pipeline")
            ours = _ours(numbered, folder, extent.window_s)
            say(f"round {number} of {extent.rounds}: the plain way")
            rounds.append(ours | _plain(numbered, model, extent.window_s))
        streams = _streams(numbered, folder, extent, say)
    return _gather(rounds) | {"streams_720p15": streams, "clip": source.name}


def _ours(clip: Path, folder: Path, window_s: float) -> Figures:
    with ExitStack() as stack:
        bank = stack.enter_context(CameraBank(clip, 1))
        name = bank.names[0]
        rig = stack.enter_context(Rig({name: bank.url(name)}, folder, _free_port()))
        listener = stack.enter_context(Listener(rig.broker_url, [name]))
        _wait_for_frames(rig)
        unwatched = _window(rig, window_s)
        url = f"{rig.url}/cameras/{name}/stream.mjpg"
        with Viewer(url, lambda number: bank.age_s(name, number)) as viewer:
            time.sleep(_SETTLE_S)
            watched = _window(rig, window_s)
            with ExitStack() as more:
                for _ in range(_EXTRA_VIEWERS):
                    more.enter_context(Viewer(url, None))
                time.sleep(1)
                crowded = _window(rig, window_s / 2)
        memory = rig.memory_mb()
        start_s = rig.start_s
    faces = unwatched.metrics["facestream_worker_faces_answered_total"]
    answering_s = unwatched.cpu_s["worker"] + unwatched.cpu_s["model-server"]
    return {
        "cpu_ms_per_frame": {
            "unwatched": _per_frame(unwatched),
            "watched": _per_frame(watched),
            "per_extra_viewer": (_per_frame(crowded) - _per_frame(watched)) / _EXTRA_VIEWERS,
            "unwatched_by_service": _by_service(unwatched),
            "watched_by_service": _by_service(watched),
            "steps": _by_step(watched),
            "floor": _decoding(clip),
        },
        "cpu_ms_per_face": 1000 * answering_s / faces if faces else None,
        "faces_per_frame": faces / _frames(unwatched),
        "latency_ms": {
            **_percentiles("picture", viewer.ages_s),
            **_percentiles("result", listener.first_result_s),
        },
        "rss_mb": {service: memory[service] for service in SERVICES if service in memory},
        "start_s": start_s,
    }


def _plain(clip: Path, model: Path, window_s: float) -> Figures:
    with CameraBank(clip, 1) as bank:
        command = [sys.executable, "-m", "tests.bench.plain", bank.url(bank.names[0]), str(model)]
        done = subprocess.run(
            [*command, "--seconds", str(window_s)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=window_s + 60,
            check=False,
        )
    if done.returncode != 0:
        raise StartError(f"the plain way failed: {done.stderr.strip().splitlines()[-1:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    plain = 1000 * figures["cpu_s"] / max(1, figures["frames"])
    return {"plain": plain, "plain_faces_per_frame": figures["faces"] / max(1, figures["frames"])}


def _streams(clip: Path, folder: Path, extent: Extent, say: Say) -> Figures:
    """The largest tried number of unwatched cameras that this machine carries, and the trials."""
    carried, trials = 0, []
    for count in extent.stream_counts:
        say(f"{count} cameras")
        with ExitStack() as stack:
            bank = stack.enter_context(CameraBank(clip, count))
            cameras = {name: bank.url(name) for name in bank.names}
            rig = stack.enter_context(Rig(cameras, folder, _free_port()))
            _wait_for_frames(rig)
            time.sleep(_SETTLE_S)
            with Listener(rig.broker_url, bank.names) as listener:
                window = _window(rig, extent.streams_window_s)
            memory = rig.memory_mb()
        rate = _frames(window) / (window.at_s * FPS * count)
        late_s = float(np.percentile(listener.lateness_s or [float("inf")], 95))
        trials.append(
            {
                "cameras": count,
                "frames_received": rate,
                "late_p95_ms": 1000 * late_s,
                "cpu_ms_per_frame": _per_frame(window),
                "capture_mb": memory["capture"],
            }
        )
        if rate < _MIN_RATE or late_s > _LATE_S:
            break
        carried = count
    return {"carried": carried, "trials": trials}


def _window(rig: Rig, seconds: float) -> Reading:
    before = rig.read()
    time.sleep(seconds)
    return rig.read().since(before)


def _wait_for_frames(rig: Rig) -> None:
    deadline = time.monotonic() + 20
    while rig.read().metrics.get("facestream_capture_frames_total", 0) < FPS:
        if time.monotonic() > deadline:
            raise StartError(f"no frames came: {rig.lines[-3:]}")
        time.sleep(0.2)
    time.sleep(_SETTLE_S)


def _frames(window: Reading) -> float:
    return window.metrics["facestream_capture_frames_total"]


def _per_frame(window: Reading) -> float:
    return 1000 * sum(window.cpu_s.values()) / _frames(window)


def _by_service(window: Reading) -> dict[str, float]:
    return {name: 1000 * cpu_s / _frames(window) for name, cpu_s in window.cpu_s.items()}


def _by_step(window: Reading) -> dict[str, float]:
    """Time per camera frame of each step that the services time themselves, ms of wall clock."""
    sums = {k: v for k, v in window.metrics.items() if "_step_seconds_sum:" in k}
    return {
        f"{name.split('_')[1]} {name.split(':')[1]}": 1000 * seconds / _frames(window)
        for name, seconds in sums.items()
    }


def _decoding(clip: Path) -> float:
    """CPU of decoding alone, ms per frame: below this nothing can go that looks at every frame."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        started = time.thread_time()
        count = sum(1 for _ in container.decode(stream))
        return 1000 * (time.thread_time() - started) / count


def _percentiles(name: str, seconds: list[float]) -> dict[str, float | None]:
    return {
        f"{name}_p{p}": 1000 * float(np.percentile(seconds, p)) if seconds else None
        for p in (50, 95, 99)
    }


def _gather(rounds: list[Figures]) -> Figures:
    """The rounds' figures side by side: each leaf becomes a list."""
    first = rounds[0]
    return {
        key: _gather([r[key] for r in rounds])
        if isinstance(value, dict)
        else [r[key] for r in rounds]
        for key, value in first.items()
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
