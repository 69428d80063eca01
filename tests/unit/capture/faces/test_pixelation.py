"""What is left of a face where faces are hidden."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.pixelation import BLOCKS, MARGIN, SHADE_STEP, pixelate_faces
from facestream.capture.faces.yuv_frame import YuvFrame, from_av_frame, to_jpeg
from facestream.common.cameras.models import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import Detections, FaceDetector

SAMPLE = SAMPLES_DIR / "astronaut.jpg"


def picture(rotate: Rotation = 0, width: int = 512, height: int = 512) -> YuvFrame:
    """The sample, lying so that it stands upright once it is turned."""
    upright = cv2.resize(cv2.imread(str(SAMPLE)), (width, height))
    lying = np.ascontiguousarray(np.rot90(upright, rotate // 90))
    return from_av_frame(av.VideoFrame.from_ndarray(lying, "bgr24"), rotate)


def faces(shown: YuvFrame) -> Detections:
    bgr = simplejpeg.decode_jpeg(to_jpeg(shown, 90), "BGR")
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[: bgr.shape[0], : bgr.shape[1]] = bgr[:512, :512]
    return FaceDetector(512, 512, min_score=0.3).detect(canvas)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_no_face_is_found_where_one_was(rotate: Rotation) -> None:
    before = picture(rotate)
    (box,) = faces(before).boxes.tolist()
    assert len(faces(pixelate_faces(before, [tuple(box)]))) == 0


def test_of_a_face_remain_a_few_numbers_and_the_rest_of_the_picture_is_as_it_was() -> None:
    before = picture()
    (box,) = faces(before).boxes.tolist()
    x, y, w, h = box
    after = pixelate_faces(before, [tuple(box)])
    face = np.s_[int(y) : int(y + h), int(x) : int(x + w)]
    half = np.s_[int(y) // 2 : int(y + h) // 2, int(x) // 2 : int(x + w) // 2]
    for plane, part in ((after.y, face), (after.u, half), (after.v, half)):
        values = np.unique(plane[part])
        assert len(values) <= BLOCKS**2
        assert np.all(values % SHADE_STEP == SHADE_STEP // 2)
    top, bottom = int(y - MARGIN * h) - 2, int(y + (1 + MARGIN) * h) + 3
    for plane, other, scale in ((after.y, before.y, 1), (after.u, before.u, 2)):
        assert np.array_equal(plane[: top // scale], other[: top // scale])
        assert np.array_equal(plane[bottom // scale + 1 :], other[bottom // scale + 1 :])
    assert len(faces(before)) == 1, "the frame itself is left alone"


def test_hair_and_chin_are_hidden_too() -> None:
    shown = picture()
    after = pixelate_faces(shown, [(200.0, 200.0, 100.0, 100.0)])
    changed = np.argwhere(after.y != shown.y)
    assert changed.min() <= 200 - 100 * MARGIN + 2
    assert changed.max() >= 300 + 100 * MARGIN - 3


@pytest.mark.parametrize("size", [(511, 509), (512, 510), (2, 2)])
@pytest.mark.parametrize(
    "box",
    [(-50, -50, 100, 100), (480, 480, 300, 300), (-9e9, -9e9, 9e10, 9e10), (900, 0, 50, 50)],
)
def test_boxes_may_reach_out_of_pictures_of_any_size(
    size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    shown = picture(90, *size)
    after = pixelate_faces(shown, [box])
    assert (after.width, after.height) == size
    if box[2] > 1e9:
        assert len(np.unique(after.y)) <= BLOCKS**2
        assert len(np.unique(after.u)) <= BLOCKS**2
