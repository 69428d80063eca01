"""Face pipeline: from a frame with a real face to tracks and crops."""

import av
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.face_pipeline import FacePipeline
from facestream.capture.settings import CaptureSettings
from facestream.common.broker.keys import CROP_PX
from facestream.common.core.frame_limits import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import FaceDetector

SAMPLE = SAMPLES_DIR / "astronaut.jpg"
STEP_S = 0.2


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(320, 320)


def _pipeline(detector: FaceDetector, rotate: Rotation = 0, **changes: object) -> FacePipeline:
    settings = CaptureSettings.model_validate(changes)
    return FacePipeline(settings, rotate, lambda width, height: detector)


def _frame(turns: int = 0, shift: int = 0) -> av.VideoFrame:
    image = simplejpeg.decode_jpeg(SAMPLE.read_bytes())[:480, :480]
    image = np.ascontiguousarray(np.rot90(np.roll(image, shift, axis=1), turns))
    return av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")


def test_a_new_face_gives_a_track_and_a_crop_at_once(detector: FaceDetector) -> None:
    result = _pipeline(detector).process(_frame(), 1_000_000, 1.0)
    assert (result.width, result.height, result.face_count) == (480, 480, 1)
    (face,) = result.faces
    x, y, w, h = face.box_at(1.0)
    assert 150 < x < x + w < 300
    assert 40 < y < y + h < 200
    (crop,) = result.crops
    assert (crop.track, crop.captured_us) == (face.track, 1_000_000)
    assert 0.3 < crop.quality <= 1
    assert simplejpeg.decode_jpeg(crop.jpeg).shape == (CROP_PX, CROP_PX, 3)


def test_the_same_face_is_found_whichever_way_the_camera_is_held(detector: FaceDetector) -> None:
    upright = _pipeline(detector).process(_frame(), 0, 0.0).faces[0]
    rotations: tuple[Rotation, ...] = (90, 180, 270)
    for rotate in rotations:
        result = _pipeline(detector, rotate=rotate).process(_frame(turns=rotate // 90), 0, 0.0)
        (face,) = result.faces
        assert abs(face.x - upright.x) < 4
        assert abs(face.y - upright.y) < 4


def test_crops_of_a_face_that_stays_are_sent_at_intervals(detector: FaceDetector) -> None:
    pipeline = _pipeline(detector)
    results = [pipeline.process(_frame(shift=2 * i), 0, i * STEP_S) for i in range(20)]
    assert len({face.track for result in results for face in result.faces}) == 1
    assert [i for i, result in enumerate(results) if result.crops] == [
        0,
        2,
        4,
        8,
    ]  # then it is settled


def test_the_next_detection_may_wait_once_a_face_is_steady(detector: FaceDetector) -> None:
    pipeline = _pipeline(detector)
    results = [pipeline.process(_frame(shift=2 * i), 0, i * STEP_S) for i in range(4)]
    assert [result.is_steady for result in results] == [False, False, True, True]


def test_a_small_face_is_tracked_but_its_crop_is_not_sent(detector: FaceDetector) -> None:
    result = _pipeline(detector, min_face_px=300).process(_frame(), 0, 0.0)
    assert len(result.faces) == 1
    assert result.crops == ()
    assert result.failed_crops == 0


@pytest.mark.parametrize("pixelates", [False, True])
def test_with_pixelation_the_detector_runs_every_second_in_an_empty_scene(
    detector: FaceDetector, pixelates: bool
) -> None:
    pipeline = FacePipeline(
        CaptureSettings(), 0, lambda width, height: detector, pixelates=pixelates
    )
    empty = av.VideoFrame.from_ndarray(np.full((480, 480, 3), 90, np.uint8), "rgb24")
    empty = empty.reformat(format="yuv420p")
    detected = [i for i in range(13) if not pipeline.process(empty, 0, i * 0.25).is_skipped]
    assert detected == ([0, 4, 8, 12] if pixelates else [0, 12])


def test_track_numbers_of_two_sessions_differ(detector: FaceDetector) -> None:
    first, second = (_pipeline(detector).process(_frame(), 0, 0.0).faces[0].track for _ in range(2))
    assert first != second
    assert all(0 < track < 2**31 for track in (first, second))


def test_setting_the_system_clock_does_not_end_a_track(detector: FaceDetector) -> None:
    pipeline = _pipeline(detector)
    times_us = [3_600_000_000, 0, 7_200_000_000]
    results = [
        pipeline.process(_frame(shift=2 * i), us, i * STEP_S) for i, us in enumerate(times_us)
    ]
    assert len({face.track for result in results for face in result.faces}) == 1
    assert [result.crops[0].captured_us for result in results if result.crops] == [
        times_us[0],
        times_us[2],
    ]
