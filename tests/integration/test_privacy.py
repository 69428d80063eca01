"""What leaves capture under each setting of privacy, and what the page's pictures show then."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import redis
import simplejpeg
from facestream.capture.faces.detector_thread import HIDE_SCORE
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


def shown(
    client: redis.Redis, frames: StreamReader, seconds: float
) -> list[tuple[Frame, bytes | None]]:
    """What comes in these seconds while somebody watches."""
    found = []
    for _ in range(round(seconds / 0.5)):
        CameraRegistry(client).mark_watched("door")
        found += [decode_frame(fields) for fields in frames.collect(0.5)]
    return found


def test_hidden_faces_are_in_no_picture(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    client.delete(keys.frames_key("door"))
    with running_capture(
        capture_settings(broker_url, privacy_mode="blur"), camera_of("door", rtsp)
    ):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        CameraRegistry(client).mark_watched("door")
        frames = StreamReader(client, keys.frames_key("door"))
        came = shown(client, frames, 3.0)
        status = status_of(client, "door")
    assert status is not None
    assert status.privacy == "blur"
    pictures = [(frame, jpeg) for frame, jpeg in came if jpeg is not None]
    assert 5 <= len(pictures) <= 3 * CLIP_FPS // 2, "only what was searched for faces is shown"
    detector = FaceDetector(640, 352, min_score=HIDE_SCORE)
    for _, jpeg in pictures:  # as capture looks at them: all but four rows above and below
        assert len(detector.detect(simplejpeg.decode_jpeg(jpeg, "BGR")[4:356])) == 0
    assert len(pictures[-1][0].tracks) == 2, "boxes are still known"


@pytest.mark.parametrize("where", ["installation", "camera"])
def test_no_picture_leaves_where_there_are_only_counts(
    broker_url: str,
    rtsp: str,
    where: str,
) -> None:
    client = redis.Redis.from_url(broker_url)
    client.delete(keys.frames_key("door"), keys.faces_key(0))
    of_settings: dict[str, Any] = {"privacy_mode": "stats-only"} if where == "installation" else {}
    # A camera may be stricter than the installation, never laxer.
    of_camera = {"privacy": "full" if where == "installation" else "stats-only"}
    with running_capture(
        capture_settings(broker_url, **of_settings), camera_of("door", rtsp, **of_camera)
    ):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        frames = StreamReader(client, keys.frames_key("door"))
        came = shown(client, frames, 1.5)
        assert client.xlen(keys.faces_key(0)) > 0, "age and gender are still asked for"
    assert len(came) >= 4
    assert all(jpeg is None for _, jpeg in came)
    assert any(frame.tracks for frame, _ in came)


def test_where_there_is_no_picture_boxes_are_drawn_on_none(broker_url: str) -> None:
    pipeline = Pipeline(broker_url)
    pipeline.camera("shop")
    running = Running(broker_url)
    wait_for(lambda: running.http.get("/api/cameras").json(), "the camera's discovery")
    answer = running.http.patch("/api/cameras/shop", json={"privacy": "stats-only"})
    assert answer.json()["privacy"] == "stats-only"
    status = CameraStatus(name="shop", state="live", since=0.0, privacy="stats-only")
    pipeline.registry.publish_statuses([status])
    wait_for(lambda: running.http.get("/api/cameras").json()[0]["privacy"] == "stats-only")

    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.1):
            pipeline.frame("shop", [3])

    filming = threading.Thread(target=film)
    filming.start()
    try:
        answer = running.http.get("/cameras/shop/snapshot.jpg")
    finally:
        stop.set()
        filming.join()
        running.end()
        pipeline.redis.close()
    assert answer.status_code == 200
    picture = simplejpeg.decode_jpeg(answer.content, "GRAY")[..., 0].astype(int)
    assert picture.shape == (240, 320)
    assert picture.max() > 150, "the face's box"
    assert np.median(picture) < 60, "on nothing"
