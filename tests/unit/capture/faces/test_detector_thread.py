"""The shared detector thread under load."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import av
import numpy as np
import pytest
import redis
from facestream.capture.faces.detector_thread import DetectorThread
from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame
from facestream.common.cameras.models import Camera
from facestream.common.security.egress_policy import ALLOW_ALL
from prometheus_client import CollectorRegistry

SETTINGS = CaptureSettings(detector_long_side_px=64, detector_short_side_px=64)


class _Bench:
    """A detector thread whose every answer is held back until `go` is set."""

    def __init__(self) -> None:
        self.metrics = CaptureMetrics(CollectorRegistry())
        self.go = threading.Event()
        self.looked: list[str] = []
        self.thread = DetectorThread(SETTINGS, self.metrics, self._found)

    def _found(self, reader: CameraReader, frame: CapturedFrame, found: DetectionResult) -> None:
        self.looked.append(reader.camera.name)
        assert self.go.wait(5)

    def reader(self, name: str, picture: av.VideoFrame | None = None) -> CameraReader:
        reader = CameraReader(
            Camera.parse(f"{name}=rtsp://host/live"),
            SETTINGS,
            self.metrics,
            reach=ALLOW_ALL,
            phone_broker=redis.Redis(),
            phase=0.0,
            on_due=self.thread.request_detection,
            on_picture=lambda reader, frame: None,
        )
        frame = picture or av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        reader.latest_frame = CapturedFrame(frame, 1, 1, 1_000_000, 1.0)
        return reader

    def until(self, looked: int) -> None:
        end = time.monotonic() + 5
        while len(self.looked) < looked:
            assert time.monotonic() < end, self.looked
            time.sleep(0.005)

    def skipped(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "facestream_capture_frames_dropped_total", {"camera": name, "reason": "detector_busy"}
        )
        return value or 0.0


@pytest.fixture
def bench() -> _Bench:
    return _Bench()


def test_when_it_cannot_keep_up_all_cameras_are_served_in_turn(bench: _Bench) -> None:
    eager, calm = bench.reader("eager"), bench.reader("calm")
    bench.thread.start()
    bench.thread.request_detection(eager)
    bench.until(1)
    for _ in range(10):
        bench.thread.request_detection(eager)
    bench.thread.request_detection(calm)
    bench.go.set()
    bench.until(3)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.looked == ["eager", "eager", "calm"]
    assert bench.skipped("eager") == 9
    assert bench.skipped("calm") == 0


def test_the_next_look_waits_where_nothing_happens(bench: _Bench) -> None:
    reader = bench.reader("door")
    due_at = reader.due_at
    reader.schedule_next_detection(is_calm=True)
    assert reader.next_detection_at == pytest.approx(due_at + 1 / SETTINGS.detection_idle_fps)
    reader.schedule_next_detection(is_calm=False)
    assert reader.next_detection_at == pytest.approx(due_at + 1 / SETTINGS.detection_fps)


def test_a_camera_that_was_removed_is_not_looked_at(bench: _Bench) -> None:
    first, gone, last = (bench.reader(name) for name in ("first", "gone", "last"))
    bench.thread.start()
    bench.thread.request_detection(first)
    bench.until(1)
    bench.thread.request_detection(gone)
    bench.thread.request_detection(last)
    bench.thread.remove_camera(gone)
    bench.go.set()
    bench.until(2)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.looked == ["first", "last"]


def test_a_frame_that_breaks_the_detector_does_not_stop_it(bench: _Bench) -> None:
    bench.go.set()
    strange = bench.reader("strange", av.VideoFrame(1, 1, "yuv420p"))
    strange.latest_frame = CapturedFrame(object(), 1, 1, 1, 1.0)  # type: ignore[arg-type]
    bench.thread.start()
    bench.thread.request_detection(strange)
    bench.thread.request_detection(bench.reader("plain"))
    bench.until(1)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.looked == ["plain"]


def test_nothing_is_kept_of_a_camera_that_was_removed(bench: _Bench) -> None:
    bench.go.set()
    gone = bench.reader("gone")
    bench.thread.start()
    bench.thread.request_detection(gone)
    bench.until(1)
    gone.stop()
    bench.thread.remove_camera(gone)
    bench.thread.stop(time.monotonic() + 5)
    left = weakref.ref(gone)
    del gone
    gc.collect()
    assert left() is None
