"""The settings of capture."""

import pytest
from facestream.capture.settings import CaptureSettings
from facestream.common.core.errors import SettingsError


def test_the_defaults_hold() -> None:
    settings = CaptureSettings.load(environ={})
    assert (settings.detection_fps, settings.detector_long_side_px, settings.crop_size_px) == (
        5,
        640,
        128,
    )


def test_a_detector_size_that_cannot_work_is_refused() -> None:
    with pytest.raises(SettingsError, match="multiple of 32"):
        CaptureSettings.load(environ={"FACESTREAM_CAPTURE_DETECTOR_LONG_SIDE_PX": "650"})


def test_a_misspelt_setting_names_the_right_one() -> None:
    with pytest.raises(SettingsError, match="FACESTREAM_CAPTURE_DETECTION_FPS"):
        CaptureSettings.load(environ={"FACESTREAM_CAPTURE_DETECTHZ": "5"})
