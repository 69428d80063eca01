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
    """A detector thread that blocks after each detection until `go` is set."""

    def __init__(self) -> None:
        self.metrics = CaptureMetrics(CollectorRegistry())
        self.go = threading.Event()
        self.detected: list[str] = []
        self.thread = DetectorThread(SETTINGS, self.metrics, self._on_result)

    def _on_result(
        self, reader: CameraReader, frame: CapturedFrame, result: DetectionResult
    ) -> None:
        self.detected.append(reader.camera.name)
        assert self.go.wait(5)

    def reader(self, name: str, video: av.VideoFrame | None = None) -> CameraReader:
        reader = CameraReader(
            Camera.parse(f"{name}=rtsp://host/live"),
            SETTINGS,
            self.metrics,
            egress_policy=ALLOW_ALL,
            phone_broker=redis.Redis(),
            phase=0.0,
            on_detection_due=self.thread.request_detection,
            on_live_frame=lambda reader, frame: None,
        )
        frame = video or av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        reader.latest_frame = CapturedFrame(frame, 1, 1, 1_000_000, 1.0)
        return reader

    def wait_until(self, detected: int) -> None:
        end = time.monotonic() + 5
        while len(self.detected) < detected:
            assert time.monotonic() < end, self.detected
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
    eager, quiet = bench.reader("eager"), bench.reader("quiet")
    bench.thread.start()
    bench.thread.request_detection(eager)
    bench.wait_until(1)
    for _ in range(10):
        bench.thread.request_detection(eager)
    bench.thread.request_detection(quiet)
    bench.go.set()
    bench.wait_until(3)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.detected == ["eager", "eager", "quiet"]
    assert bench.skipped("eager") == 9
    assert bench.skipped("quiet") == 0


def test_the_next_detection_waits_while_faces_are_steady(bench: _Bench) -> None:
    reader = bench.reader("door")
    due_at = reader.detection_due_at
    reader.schedule_next_detection(is_steady=True)
    assert reader.next_detection_at == pytest.approx(due_at + 1 / SETTINGS.detection_idle_fps)
    reader.schedule_next_detection(is_steady=False)
    assert reader.next_detection_at == pytest.approx(due_at + 1 / SETTINGS.detection_fps)


def test_a_removed_camera_is_not_served(bench: _Bench) -> None:
    first, removed, last = (bench.reader(name) for name in ("first", "removed", "last"))
    bench.thread.start()
    bench.thread.request_detection(first)
    bench.wait_until(1)
    bench.thread.request_detection(removed)
    bench.thread.request_detection(last)
    bench.thread.remove_camera(removed)
    bench.go.set()
    bench.wait_until(2)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.detected == ["first", "last"]


def test_a_frame_that_breaks_the_detector_does_not_stop_it(bench: _Bench) -> None:
    bench.go.set()
    strange = bench.reader("strange", av.VideoFrame(1, 1, "yuv420p"))
    strange.latest_frame = CapturedFrame(object(), 1, 1, 1, 1.0)  # type: ignore[arg-type]
    bench.thread.start()
    bench.thread.request_detection(strange)
    bench.thread.request_detection(bench.reader("plain"))
    bench.wait_until(1)
    bench.thread.stop(time.monotonic() + 5)
    assert bench.detected == ["plain"]


def test_a_removed_reader_is_garbage_collected(bench: _Bench) -> None:
    bench.go.set()
    removed = bench.reader("removed")
    bench.thread.start()
    bench.thread.request_detection(removed)
    bench.wait_until(1)
    removed.stop()
    bench.thread.remove_camera(removed)
    bench.thread.stop(time.monotonic() + 5)
    reference = weakref.ref(removed)
    del removed
    gc.collect()
    assert reference() is None
