"""Clients that measure latency while the stack runs: MJPEG viewers and readers of the broker.

A `Viewer` reads MJPEG as a browser does and measures each frame's age by the number in it. A
`ResultListener` measures how long each new face waits for its first result, and how late each frame
is read from its camera. A `DetectionListener` measures how long a new face waits for its track.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import redis
from facestream.common.broker.keys import frames_key, results_key
from facestream.common.broker.messages import decode_frame, decode_result, now_us

from benchmarks import timecode
from benchmarks.clip import FPS

_TIMEOUT_S = 10.0
_DECODE_INTERVAL = 4  # decode every 4th frame: the viewer shares the machine


class Viewer:
    """One open MJPEG stream. `ages_s` are the ages of the decoded frames."""

    def __init__(self, url: str, age_s: Callable[[int], float] | None) -> None:
        self.ages_s: list[float] = []
        self.frames = 0
        self._age_s, self._url = age_s, url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="viewer", daemon=True)

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_S)

    def _watch(self) -> None:
        with urllib.request.urlopen(self._url, timeout=_TIMEOUT_S) as stream:
            while not self._stop.is_set():
                length = 0
                while line := stream.readline():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    elif line == b"\r\n" and length:
                        break
                if not line:
                    return
                jpeg = stream.read(length)
                arrived = time.monotonic()
                self.frames += 1
                if self._age_s is not None and self.frames % _DECODE_INTERVAL == 0:
                    gray = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
                    number = timecode.read(gray) if gray is not None else None
                    if number is not None:
                        age_s = self._age_s(number) - (time.monotonic() - arrived)
                        self.ages_s.append(age_s)


class ResultListener:
    """Reader of the frames and results of some cameras. A context manager.

    first_result_s: per track, from its first detection to its first result in the stream;
    lateness_s: per frame, its delay relative to the camera's most punctual frame.
    """

    def __init__(self, broker_url: str, cameras: list[str]) -> None:
        self._broker = redis.Redis.from_url(broker_url, socket_timeout=_TIMEOUT_S)
        self._cameras = cameras
        self._first_detected_us: dict[tuple[str, int, int], int] = {}
        self._with_result: set[tuple[str, int, int]] = set()
        self._offsets_s: dict[tuple[str, int], list[float]] = {}
        self.first_result_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def __enter__(self) -> ResultListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_S)
        self._broker.close()

    @property
    def lateness_s(self) -> list[float]:
        """Delay of every frame relative to the most punctual of its camera."""
        late: list[float] = []
        for offsets in self._offsets_s.values():
            best = min(offsets)
            late += [offset - best for offset in offsets]
        return late

    def _listen(self) -> None:
        frames = [frames_key(c) for c in self._cameras]
        results = [results_key(c) for c in self._cameras]
        positions: dict[str, str | bytes] = dict.fromkeys(frames + results, "$")
        since_us = now_us()
        while not self._stop.is_set():
            reply: Any = self._broker.xread(positions, count=100, block=200)  # type: ignore[arg-type]
            for key, entries in reply or []:
                name = key.decode()
                for entry_id, fields in entries:
                    positions[name] = entry_id
                    if name in frames:
                        self._on_frame(fields, since_us)
                    else:
                        self._on_result(fields)

    def _on_frame(self, fields: dict[bytes, bytes], since_us: int) -> None:
        frame, _ = decode_frame({k: v for k, v in fields.items() if k != b"jpeg"})
        offset_s = frame.captured_us / 1e6 - frame.seq / FPS
        self._offsets_s.setdefault((frame.camera, frame.session), []).append(offset_s)
        for track in frame.tracks:
            key = (frame.camera, frame.session, track.track)
            if track.first_detected_us >= since_us:
                self._first_detected_us.setdefault(key, track.first_detected_us)

    def _on_result(self, fields: dict[bytes, bytes]) -> None:
        result = decode_result(fields)
        key = (result.camera, result.session, result.track)
        if key not in self._with_result and key in self._first_detected_us:
            self._with_result.add(key)
            self.first_result_s.append((now_us() - self._first_detected_us[key]) / 1e6)


class DetectionListener:
    """Reader that measures when a face that appears has a track. A context manager.

    latencies_s: per new track, the time from when the frame with the face was due until the track
    is in the broker.

    Args:
        age_s: returns how long ago the first frame with the face of a camera was due.
    """

    def __init__(self, broker_url: str, cameras: list[str], age_s: Callable[[str], float]) -> None:
        self.latencies_s: list[float] = []
        self._broker = redis.Redis.from_url(broker_url, socket_timeout=_TIMEOUT_S)
        self._cameras, self._age_s = cameras, age_s
        self._known: set[tuple[str, int, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="detections", daemon=True)

    def __enter__(self) -> DetectionListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_S)
        self._broker.close()

    def _listen(self) -> None:
        positions: dict[str, str | bytes] = {frames_key(camera): "$" for camera in self._cameras}
        since_us = now_us()
        while not self._stop.is_set():
            reply: Any = self._broker.xread(positions, count=100, block=200)  # type: ignore[arg-type]
            for key, entries in reply or []:
                for entry_id, fields in entries:
                    positions[key.decode()] = entry_id
                    frame, _ = decode_frame(fields)
                    for track in frame.tracks:
                        face = (frame.camera, frame.session, track.track)
                        if face not in self._known and track.first_detected_us >= since_us:
                            self.latencies_s.append(self._age_s(frame.camera))
                        self._known.add(face)
