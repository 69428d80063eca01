"""Pixelation: no face can be detected or reconstructed."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.pixelation import BLOCKS, LEVEL_STEP, MARGIN, pixelate_faces
from facestream.capture.faces.yuv_frame import YuvFrame, from_av_frame, to_jpeg
from facestream.common.core.frame_limits import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import Detections, FaceDetector

SAMPLE = SAMPLES_DIR / "astronaut.jpg"


def sample_frame(rotate: Rotation = 0, width: int = 512, height: int = 512) -> YuvFrame:
    """Return the sample, rotated so that `rotate` turns it upright."""
    upright = cv2.resize(cv2.imread(str(SAMPLE)), (width, height))
    rotated = np.ascontiguousarray(np.rot90(upright, rotate // 90))
    return from_av_frame(av.VideoFrame.from_ndarray(rotated, "bgr24"), rotate)


def detect_faces(frame: YuvFrame) -> Detections:
    bgr = simplejpeg.decode_jpeg(to_jpeg(frame, 90), "BGR")
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[: bgr.shape[0], : bgr.shape[1]] = bgr[:512, :512]
    return FaceDetector(512, 512, min_score=0.3).detect(canvas)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_pixelated_face_is_not_detected(rotate: Rotation) -> None:
    before = sample_frame(rotate)
    (box,) = detect_faces(before).boxes.tolist()
    assert len(detect_faces(pixelate_faces(before, [tuple(box)]))) == 0


def test_a_face_becomes_a_few_levels_and_the_rest_of_the_frame_is_unchanged() -> None:
    before = sample_frame()
    (box,) = detect_faces(before).boxes.tolist()
    x, y, w, h = box
    after = pixelate_faces(before, [tuple(box)])
    face = np.s_[int(y) : int(y + h), int(x) : int(x + w)]
    half = np.s_[int(y) // 2 : int(y + h) // 2, int(x) // 2 : int(x + w) // 2]
    for plane, part in ((after.y, face), (after.u, half), (after.v, half)):
        values = np.unique(plane[part])
        assert len(values) <= BLOCKS**2
        assert np.all(values % LEVEL_STEP == LEVEL_STEP // 2)
    top, bottom = int(y - MARGIN * h) - 2, int(y + (1 + MARGIN) * h) + 3
    for plane, other, scale in ((after.y, before.y, 1), (after.u, before.u, 2)):
        assert np.array_equal(plane[: top // scale], other[: top // scale])
        assert np.array_equal(plane[bottom // scale + 1 :], other[bottom // scale + 1 :])
    assert len(detect_faces(before)) == 1, "the original frame is unchanged"


def test_the_margin_around_a_face_is_pixelated_too() -> None:
    frame = sample_frame()
    after = pixelate_faces(frame, [(200.0, 200.0, 100.0, 100.0)])
    changed = np.argwhere(after.y != frame.y)
    assert changed.min() <= 200 - 100 * MARGIN + 2
    assert changed.max() >= 300 + 100 * MARGIN - 3


@pytest.mark.parametrize("size", [(511, 509), (512, 510), (2, 2)])
@pytest.mark.parametrize(
    "box",
    [(-50, -50, 100, 100), (480, 480, 300, 300), (-9e9, -9e9, 9e10, 9e10), (900, 0, 50, 50)],
)
def test_boxes_may_reach_beyond_the_frame(
    size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    frame = sample_frame(90, *size)
    after = pixelate_faces(frame, [box])
    assert (after.width, after.height) == size
    if box[2] > 1e9:
        assert len(np.unique(after.y)) <= BLOCKS**2
        assert len(np.unique(after.u)) <= BLOCKS**2
