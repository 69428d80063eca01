"""Privacy modes: which image data leaves capture, and what the web UI shows."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import redis
import simplejpeg
from facestream.capture.faces.detector_thread import REDACTION_MIN_SCORE
from facestream.common.broker import keys
from facestream.common.broker.messages import Frame, decode_frame
from facestream.common.cameras.models import CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.vision.face_detector import FaceDetector

from tests.fixtures.annotator import Pipeline, Running
from tests.fixtures.capture import (
    CLIP_FPS,
    StreamReader,
    camera_of,
    capture_settings,
    is_in_state,
    running_capture,
    status_of,
)
from tests.fixtures.polling import wait_for


def collect_for_viewer(
    client: redis.Redis, frames: StreamReader, seconds: float
) -> list[tuple[Frame, bytes | None]]:
    """Return the frames of these seconds while the camera has a viewer."""
    collected = []
    for _ in range(round(seconds / 0.5)):
        CameraRegistry(client).mark_watched("door")
        collected += [decode_frame(fields) for fields in frames.collect(0.5)]
    return collected


def test_with_blur_no_jpeg_contains_a_face(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    client.delete(keys.frames_key("door"))
    with running_capture(
        capture_settings(broker_url, privacy_mode="blur"), camera_of("door", rtsp)
    ):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        CameraRegistry(client).mark_watched("door")
        frames = StreamReader(client, keys.frames_key("door"))
        collected = collect_for_viewer(client, frames, 3.0)
        status = status_of(client, "door")
    assert status is not None
    assert status.privacy == "blur"
    jpegs = [(frame, jpeg) for frame, jpeg in collected if jpeg is not None]
    assert 5 <= len(jpegs) <= 3 * CLIP_FPS // 2, "only frames with a detector run are published"
    detector = FaceDetector(640, 352, min_score=REDACTION_MIN_SCORE)
    for _, jpeg in jpegs:  # like the input of capture: without four rows at top and bottom
        assert len(detector.detect(simplejpeg.decode_jpeg(jpeg, "BGR")[4:356])) == 0
    assert len(jpegs[-1][0].tracks) == 2, "tracks are still published"


@pytest.mark.parametrize("where", ["installation", "camera"])
def test_with_stats_only_no_jpeg_leaves_capture(
    broker_url: str,
    rtsp: str,
    where: str,
) -> None:
    client = redis.Redis.from_url(broker_url)
    client.delete(keys.frames_key("door"), keys.faces_key(0))
    of_settings: dict[str, Any] = {"privacy_mode": "stats-only"} if where == "installation" else {}
    # A camera may be stricter than the installation, never less strict.
    of_camera = {"privacy": "full" if where == "installation" else "stats-only"}
    with running_capture(
        capture_settings(broker_url, **of_settings), camera_of("door", rtsp, **of_camera)
    ):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        frames = StreamReader(client, keys.frames_key("door"))
        collected = collect_for_viewer(client, frames, 1.5)
        assert client.xlen(keys.faces_key(0)) > 0, "face crops are still published"
    assert len(collected) >= 4
    assert all(jpeg is None for _, jpeg in collected)
    assert any(frame.tracks for frame, _ in collected)


def test_without_frames_boxes_are_drawn_on_a_blank_image(broker_url: str) -> None:
    pipeline = Pipeline(broker_url)
    pipeline.camera("shop")
    running = Running(broker_url)
    wait_for(lambda: running.http.get("/api/cameras").json(), "the camera's discovery")
    response = running.http.patch("/api/cameras/shop", json={"privacy": "stats-only"})
    assert response.json()["privacy"] == "stats-only"
    status = CameraStatus(name="shop", state="live", since=0.0, privacy="stats-only")
    pipeline.registry.publish_statuses([status])
    wait_for(lambda: running.http.get("/api/cameras").json()[0]["privacy"] == "stats-only")

    stop = threading.Event()

    def send_frames() -> None:
        while not stop.wait(0.1):
            pipeline.frame("shop", [3])

    sender = threading.Thread(target=send_frames)
    sender.start()
    try:
        response = running.http.get("/cameras/shop/snapshot.jpg")
    finally:
        stop.set()
        sender.join()
        running.end()
        pipeline.redis.close()
    assert response.status_code == 200
    image = simplejpeg.decode_jpeg(response.content, "GRAY")[..., 0].astype(int)
    assert image.shape == (240, 320)
    assert image.max() > 150, "the box of the face"
    assert np.median(image) < 60, "on a blank background"
