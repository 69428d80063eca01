"""From a frame to tracks and crops, on a real picture."""

import av
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.face_pipeline import FacePipeline
from facestream.capture.settings import CaptureSettings
from facestream.common.broker.keys import CROP_PX
from facestream.common.cameras.models import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import FaceDetector

SAMPLE = SAMPLES_DIR / "astronaut.jpg"
STEP_S = 0.2


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(320, 320)


def _finder(detector: FaceDetector, rotate: Rotation = 0, **changes: object) -> FacePipeline:
    settings = CaptureSettings.model_validate(changes)
    return FacePipeline(settings, rotate, lambda width, height: detector)


def _frame(turns: int = 0, shift: int = 0) -> av.VideoFrame:
    picture = simplejpeg.decode_jpeg(SAMPLE.read_bytes())[:480, :480]
    picture = np.ascontiguousarray(np.rot90(np.roll(picture, shift, axis=1), turns))
    return av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")


def test_a_new_face_gives_a_track_and_a_crop_at_once(detector: FaceDetector) -> None:
    found = _finder(detector).process(_frame(), 1_000_000, 1.0)
    assert (found.width, found.height, found.found) == (480, 480, 1)
    (face,) = found.faces
    x, y, w, h = face.box_at(1.0)
    assert 150 < x < x + w < 300
    assert 40 < y < y + h < 200
    (crop,) = found.crops
    assert (crop.track, crop.captured_us) == (face.track, 1_000_000)
    assert 0.3 < crop.quality <= 1
    assert simplejpeg.decode_jpeg(crop.jpeg).shape == (CROP_PX, CROP_PX, 3)


def test_the_same_face_is_found_whichever_way_the_camera_is_held(detector: FaceDetector) -> None:
    upright = _finder(detector).process(_frame(), 0, 0.0).faces[0]
    turned: tuple[Rotation, ...] = (90, 180, 270)
    for rotate in turned:
        found = _finder(detector, rotate=rotate).process(_frame(turns=rotate // 90), 0, 0.0)
        (face,) = found.faces
        assert abs(face.x - upright.x) < 4
        assert abs(face.y - upright.y) < 4


def test_a_face_that_stays_is_asked_about_now_and_then(detector: FaceDetector) -> None:
    finder = _finder(detector)
    finds = [finder.process(_frame(shift=2 * i), 0, i * STEP_S) for i in range(20)]
    assert len({face.track for found in finds for face in found.faces}) == 1
    assert [i for i, found in enumerate(finds) if found.crops] == [0, 2, 4, 8]  # then it is known


def test_a_look_may_wait_once_a_face_is_known(detector: FaceDetector) -> None:
    finder = _finder(detector)
    finds = [finder.process(_frame(shift=2 * i), 0, i * STEP_S) for i in range(4)]
    assert [found.is_steady for found in finds] == [False, False, True, True]


def test_a_face_too_small_is_followed_but_not_asked_about(detector: FaceDetector) -> None:
    found = _finder(detector, min_face_px=300).process(_frame(), 0, 0.0)
    assert len(found.faces) == 1
    assert found.crops == ()
    assert found.failed_crops == 0


@pytest.mark.parametrize("hides", [False, True])
def test_where_faces_are_hidden_an_empty_scene_is_searched_each_second(
    detector: FaceDetector, hides: bool
) -> None:
    finder = FacePipeline(CaptureSettings(), 0, lambda width, height: detector, hides=hides)
    empty = av.VideoFrame.from_ndarray(np.full((480, 480, 3), 90, np.uint8), "rgb24")
    empty = empty.reformat(format="yuv420p")
    searched = [i for i in range(13) if not finder.process(empty, 0, i * 0.25).is_still]
    assert searched == ([0, 4, 8, 12] if hides else [0, 12])


def test_numbers_of_a_new_session_are_not_those_of_the_last(detector: FaceDetector) -> None:
    first, second = (_finder(detector).process(_frame(), 0, 0.0).faces[0].track for _ in range(2))
    assert first != second
    assert all(0 < track < 2**31 for track in (first, second))


def test_setting_the_clock_does_not_end_a_track(detector: FaceDetector) -> None:
    finder = _finder(detector)
    times_us = [3_600_000_000, 0, 7_200_000_000]
    finds = [finder.process(_frame(shift=2 * i), us, i * STEP_S) for i, us in enumerate(times_us)]
    assert len({face.track for found in finds for face in found.faces}) == 1
    assert [found.crops[0].captured_us for found in finds if found.crops] == [
        times_us[0],
        times_us[2],
    ]
