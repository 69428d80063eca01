"""Measure how costs grow with the number of cameras, the backlog of faces, and time.

    python -m benchmarks.cost_curves [--json FILE] [--svg FILE]

CPU per camera frame of all services with one camera and with more; CPU per face of worker and model
server for bursts of several sizes; the broker's memory over time. Uses real processes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from facestream.common.broker import keys
from facestream.common.broker.messages import encode
from facestream.common.core.errors import StartError
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.demo_camera import cache_dir

from benchmarks.clip import numbered_clip
from benchmarks.comparisons import decoding_ms
from benchmarks.component_costs import crops, face_message
from benchmarks.fake_cameras import CameraBank
from benchmarks.plot import Curve, figure
from benchmarks.ramp import CameraRamp, per_frame_ms, share_received
from benchmarks.report import write_figures
from benchmarks.runner import HEIGHT_PX
from benchmarks.stack_under_test import StackUnderTest
from tests.fixtures.stack import free_port

CAMERAS = (1, 2, 4, 8, 12)
BACKLOGS = (1, 2, 4, 8, 16, 32, 64)
FACES_EACH = 96  # per backlog size, in as many bursts as needed
MEMORY_CAMERAS, MEMORY_S, MEMORY_EVERY_S = 4, 120.0, 4.0
_CLIP_S, _SETTLE_S = 12.0, 2.0
_RESULT_TIMEOUT_S = 20.0
_FACES_PROCESSED = "facestream_worker_faces_processed_total"


def per_camera(clip: Path, folder: Path, count: int, seconds: float) -> dict[str, float]:
    """Return the CPU per frame of `count` cameras, relative to decoding just before and after."""
    with ExitStack() as stack:
        bank, sut = _stack(stack, clip, folder, count)
        ramp = CameraRamp(sut, bank, _SETTLE_S)
        ramp.activate(*bank.names)
        before = decoding_ms(clip)
        window = ramp.measure(seconds)
        lower_bound = (before + decoding_ms(clip)) / 2
    cost = per_frame_ms(window)
    return {
        "cameras": count,
        "cpu_ms_per_frame": cost,
        "to_lower_bound": cost / lower_bound,
        "frames_received": share_received(window, count),
    }


def per_face(sut: StackUnderTest, jpegs: Sequence[bytes], backlog: int) -> dict[str, float]:
    """Return the CPU per face of worker and model server for bursts of `backlog` faces.

    Raises:
        StartError: faces got no result.
    """
    broker = redis.Redis.from_url(sut.broker_url)
    key = keys.faces_key(0)
    before = sut.read()
    for start in range(0, FACES_EACH, backlog):
        burst = range(start, min(start + backlog, FACES_EACH))
        with broker.pipeline(transaction=True) as pipe:
            for i in burst:
                fields: Any = encode(face_message(i), jpegs[i % len(jpegs)])
                pipe.xadd(key, fields)
            pipe.execute()
        _await_results(broker, key)
    window = sut.read().since(before)
    if window.metrics[_FACES_PROCESSED] < FACES_EACH:
        raise StartError(
            f"{window.metrics[_FACES_PROCESSED]:.0f} of {FACES_EACH} faces got a result"
        )
    used_s = window.cpu_s["worker"] + window.cpu_s["model-server"]
    return {"backlog": backlog, "cpu_ms_per_face": 1000 * used_s / FACES_EACH}


def broker_memory(clip: Path, folder: Path) -> list[dict[str, float]]:
    """Sample the memory that the broker reports, from the start of the cameras."""
    samples = []
    with ExitStack() as stack:
        bank, sut = _stack(stack, clip, folder, MEMORY_CAMERAS)
        broker = redis.Redis.from_url(sut.broker_url)
        began = time.monotonic()
        CameraRamp(sut, bank, 0.0).activate(*bank.names)
        while (at_s := time.monotonic() - began) < MEMORY_S:
            info: Any = broker.info("memory")
            samples.append({"at_s": round(at_s, 1), "mb": info["used_memory"] / 1e6})
            time.sleep(MEMORY_EVERY_S)
    return samples


def plot(figures: dict[str, Any]) -> str:
    """Render the figures as one SVG."""
    cameras, faces = figures["per_camera"], figures["per_face"]
    memory = figures["broker_memory"]
    return figure(
        [
            Curve(
                "CPU per camera frame ÷ decoding alone",
                "cameras",
                [(c["cameras"], c["to_lower_bound"]) for c in cameras],
            ),
            Curve(
                "CPU ms per face, worker and model server",
                "faces per burst",
                [(f["backlog"], f["cpu_ms_per_face"]) for f in faces],
            ),
            Curve(
                f"MB in the broker, {MEMORY_CAMERAS} cameras",
                "seconds",
                [(m["at_s"], m["mb"]) for m in memory],
            ),
        ]
    )


def _stack(
    stack: ExitStack, clip: Path, folder: Path, count: int
) -> tuple[CameraBank, StackUnderTest]:
    bank = stack.enter_context(CameraBank({f"camera{i}": clip for i in range(count)}))
    cameras = {name: bank.url(name) for name in bank.names}
    return bank, stack.enter_context(StackUnderTest(cameras, folder, free_port()))


def _await_results(broker: redis.Redis, key: str) -> None:
    """Wait until the worker has deleted all faces from their stream."""
    deadline = time.monotonic() + _RESULT_TIMEOUT_S
    while broker.xlen(key):
        if time.monotonic() > deadline:
            raise StartError(f"faces got no result in {_RESULT_TIMEOUT_S:g} s")
        time.sleep(0.01)


def main() -> int:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        source = ensure_clip(cache_dir(), lambda share: None)
        numbered_clip(source, HEIGHT_PX, _CLIP_S, clip)
        figures: dict[str, Any] = {
            "per_camera": [per_camera(clip, folder, count, _CLIP_S) for count in CAMERAS]
        }
        with StackUnderTest({}, folder, free_port()) as sut:
            jpegs = crops()
            figures["per_face"] = [per_face(sut, jpegs, backlog) for backlog in BACKLOGS]
        figures["broker_memory"] = broker_memory(clip, folder)
    write_figures(figures, arguments.json)
    if arguments.svg:
        arguments.svg.write_text(plot(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
