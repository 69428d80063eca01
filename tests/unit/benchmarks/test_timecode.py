"""The number in a frame is read, or reported as illegible."""

import cv2
import numpy as np

from benchmarks import timecode


def test_a_number_survives_jpeg_at_any_size() -> None:
    for width, height in ((1280, 720), (640, 360), (1920, 1080)):
        for number in (0, 1, 359, timecode.LIMIT - 1):
            frame = np.full((height, width, 3), 120, np.uint8)
            timecode.write(frame, number)
            data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
            decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            assert timecode.read(decoded) == number


def test_a_frame_without_a_number_is_illegible() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    assert timecode.read(noise) is None
